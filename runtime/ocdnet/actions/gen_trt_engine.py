"""Engines: an ONNX file compiled for TensorRT or, where that is missing, for another runtime."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ocdnet.actions.agreement import check_agreement, images_with_text
from ocdnet.actions.engine_backend import NOTES, build, choose, versions, without_effect
from ocdnet.actions.engine_source import Source, kept_layers, noise, read_source
from ocdnet.actions.session import session
from ocdnet.backends.base import Batch, Predictor
from ocdnet.backends.open import engine_predictor
from ocdnet.backends.sidecar import Engine, beside, write_engine
from ocdnet.config.gen_trt_engine import GenTrtEngineConfig
from ocdnet.config.spec import Loaded
from ocdnet.data.reading import read_image
from ocdnet.engines import Kind
from ocdnet.errors import EnvironmentFault, RunError, SpecError
from ocdnet.files import replacing, sha256
from ocdnet.runs.printed import BatchRange, EngineResult, Tensor
from ocdnet.runs.status_line import Kpi

LOG = logging.getLogger("ocdnet")
_IMAGES = "gen_trt_engine.tensorrt.calibration.cal_image_dir"
TOLERANCE = 5e-3
"""Largest difference of a probability between the ONNX file and its FP32 engine."""
MEAN_TOLERANCE = 0.02
"""Largest mean difference of a map at lower precision. A good INT8 engine had 0.002, one that found
no text any more 0.033."""


@dataclass(frozen=True, kw_only=True)
class Precise:
    """An ONNX file in the engine's precision.

    Attributes:
        path: the file.
        report: fields of the result that tell of it.
        calibration: digest of an INT8 engine's calibration.
        images: those of its calibration on which the ONNX file finds text.
        image: the first of them, or another one that it was calibrated on.
    """

    path: Path
    report: dict[str, Any]
    calibration: str | None = None
    images: tuple[Path, ...] = ()
    image: Path | None = None


def run(loaded: Loaded) -> EngineResult:
    """Write an engine and `<engine>.json`, which describes it and its input.

    Args:
        loaded: a spec checked for `gen_trt_engine`.

    Returns:
        What was built and why for that runtime, and how far it is from the ONNX file.

    Raises:
        UserError: a bad ONNX file, a size, image mode or batch that it was not exported with, an
            existing file, a missing package, or a failed build; nothing is written then.
    """
    config = loaded.experiment.gen_trt_engine
    _require_packages()
    with session(loaded) as here:
        target = Path(config.trt_engine)
        _refuse_existing(target)
        source = read_source(config)
        kept = kept_layers(config.tensorrt, source.nodes)
        choice = choose(config, source.operators)
        idle = without_effect(config, choice.kind)
        with tempfile.TemporaryDirectory() as folder:
            precise = _precise(source, config, choice.kind, kept, Path(folder))
            # Both files take their places after the comparison: a failed one leaves neither.
            with replacing(beside(target)) as sidecar, replacing(target) as file:
                build(choice.kind, precise.path, file, config, source)
                engine = _described(source, config, choice.kind, precise, file)
                LOG.info("Comparing the engine with the ONNX file.")
                differences = _compared(source, engine, file, precise, config.gpu_id)
                write_engine(sidecar, engine)
        several = config.least != config.most
        sides = ("height", "width") if several else (config.height, config.width)
        here.status.write("RUNNING", f"Built {target}.", Kpi(**differences))
        return EngineResult(
            warnings=here.warnings,
            trt_engine=str(target),
            sidecar=str(beside(target)),
            backend=choice.kind,
            why=choice.why,
            note=NOTES[choice.kind],
            precision=config.tensorrt.data_type,
            input=Tensor(name=source.predictor.input, shape=("batch", 3, *sides)),
            batch=BatchRange(**source.batch._asdict()),
            without_effect=tuple(idle),
            **precise.report,
            **differences,
        )


def _precise(
    source: Source, config: GenTrtEngineConfig, kind: Kind, kept: set[str], folder: Path
) -> Precise:
    """The ONNX file cast to FP16, or with Q/DQ for INT8, or as it is."""
    path, wanted = folder / "precise.onnx", config.tensorrt.data_type
    if wanted == "INT8":
        from ocdnet.actions.calibration_cache import calibrated
        from ocdnet.quantization.qdq import insert_qdq

        calibration = calibrated(source, config.tensorrt.calibration)
        # OpenVINO accepts signed activations, too, but 2026.4 computes wrong values with them.
        signed = kind == "tensorrt"
        report = insert_qdq(
            source.path,
            path,
            calibration.ranges,
            activations="int8" if signed else "uint8",
            skip=sorted(kept),
        )
        fields = {
            "cal_cache_file": config.tensorrt.calibration.cal_cache_file,
            "calibration_images": len(calibration.images),
            "calibration_reused": calibration.reused,
            "layers_quantized": len(report.quantized),
            "layers_left": tuple(report.left),
        }
        texts = images_with_text(source.predictor, source.preprocess, calibration.images, _IMAGES)
        return Precise(
            path=path,
            report=fields,
            calibration=calibration.digest,
            images=tuple(texts),
            image=next(iter([*texts, *calibration.images]), None),
        )
    if wanted == "FP16" or kept:
        from ocdnet.backends.float16 import cast

        cast(source.path, path, kept)
        return Precise(path=path, report={"layers_fp32": len(kept)})
    return Precise(path=source.path, report={})


def _described(
    source: Source, config: GenTrtEngineConfig, kind: Kind, precise: Precise, file: Path
) -> Engine:
    several = config.least != config.most
    return Engine(
        kind=kind,
        precision=config.tensorrt.data_type,
        input=source.predictor.input,
        width=config.width,
        height=config.height,
        min_size=config.least if several else None,
        max_size=config.most if several else None,
        batch={"min": source.batch.min, "opt": source.batch.opt, "max": source.batch.max},
        preprocess=source.predictor.feeding(),
        source={"file": source.path.name, "sha256": source.sha256},
        engine_sha256=sha256(file),
        calibration=precise.calibration,
        suggested=suggested.thresholds if (suggested := source.predictor.suggested) else None,
        versions=versions(kind),
    )


def _compared(
    source: Source, engine: Engine, file: Path, precise: Precise, gpu: int
) -> dict[str, Any]:
    """The largest and the mean difference of the engine's probabilities from the ONNX file's.

    On an image of noise; an INT8 engine on a calibration image with text, as noise is beyond its
    ranges. What it finds on several such images is compared, too.

    Raises:
        RunError: above TOLERANCE anywhere for FP32, above MEAN_TOLERANCE on average for others.
    """
    images = _probe(source, precise.image)
    predictor = engine_predictor(file, engine, gpu)
    differences = np.abs(predictor(images) - source.predictor(images))
    check_agreement(source.predictor, predictor, source.preprocess, precise.images, _IMAGES)
    _close(predictor)
    most, mean = float(differences.max()), float(differences.mean())
    exact = engine.precision == "FP32"
    if not (most <= TOLERANCE if exact else mean <= MEAN_TOLERANCE):
        raise RunError(
            "no-parity",
            "The engine does not compute what the ONNX file does",
            got=str(most if exact else mean),
            expected=f"differences up to {TOLERANCE}"
            if exact
            else f"a mean difference up to {MEAN_TOLERANCE}",
            hint="Nothing was written. "
            + (
                "Calibrate on more images: cal_batches; or keep layers in FP32: layers_precision."
                if engine.precision == "INT8"
                else "Build with verbose=true and report this with its log."
            ),
        )
    return {"max_difference": most, "mean_difference": mean}


def _probe(source: Source, image: Path | None) -> Batch:
    if image is None:
        return noise(source.preprocess)
    pixels = read_image(image, source.preprocess.img_mode)
    return source.preprocess.to_tensor([source.preprocess.prepare(pixels).image])


def _close(predictor: Predictor) -> None:
    """Free the GPU's memory, if it holds any, before the next model is opened."""
    close = getattr(getattr(predictor, "buffers", None), "close", None)
    if close is not None:
        close()


def _refuse_existing(target: Path) -> None:
    for path in (target, beside(target)):
        if path.exists():
            raise SpecError(
                "file-exists",
                f"{path} exists",
                expected="a file that does not exist yet",
                hint="Remove it, or set gen_trt_engine.trt_engine to another path.",
            )


def _require_packages() -> None:
    from importlib.util import find_spec

    from ocdnet import install

    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise EnvironmentFault(
            "missing-packages",
            f"Building an engine needs {', '.join(missing)}",
            hint=install.command("deploy"),
        )
