"""Quantize: a smaller model, with what it costs in accuracy told."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ocdnet import install
from ocdnet.actions.scoring import counts_of, seconds_side_by_side
from ocdnet.actions.session import Session, session
from ocdnet.backends.base import Predictor
from ocdnet.config.experiment import Experiment
from ocdnet.config.quantize import QuantizeConfig, layers_of
from ocdnet.config.spec import Loaded
from ocdnet.data.annotations import index_dataset
from ocdnet.data.from_config import eval_preprocess
from ocdnet.data.preprocess import Preprocess
from ocdnet.errors import DataError, EnvironmentFault
from ocdnet.files import replacing, write_json

LOG = logging.getLogger("ocdnet")

TORCHAO_FILE = "quantized_model_torchao.pth"
_SIZE = (1280, 736)
"""Where an ONNX file takes any."""
_CALIBRATED_ON = 64
"""Images that ranges are taken from, at most: more change them little, and take time."""


@dataclass(frozen=True)
class _Quantized:
    """What a backend made.

    Attributes:
        path: the file.
        before: predictor of the source.
        after: predictor of the file.
        preprocess: how images become their input.
        layers: how many are int8, and which stay.
        megabytes: of the weights, before and after.
        note: what a user is to know.
    """

    path: Path
    before: Predictor
    after: Predictor
    preprocess: Preprocess
    quantized: Sequence[str]
    left: Sequence[str]
    megabytes: tuple[float, float]
    note: str


def run(loaded: Loaded) -> dict[str, Any]:
    """Quantize a checkpoint (torchao) or an ONNX file (modelopt.onnx).

    Args:
        loaded: a spec checked for `quantize`.

    Returns:
        The file, the layers quantized and left, and size, CPU latency and (with validation data)
        hmean before and after; the same as results.json.

    Raises:
        UserError: a file of another kind, bad calibration data, or what is not installed.
    """
    experiment = loaded.experiment
    config = experiment.quantize
    with session(loaded) as here:
        make = _BACKENDS[config.backend]
        made = make(config, experiment, here)
        before, after = _measured(made, experiment)
        LOG.info("%s", made.note)
        here.status.write("RUNNING", f"Quantized into {made.path}.", _kpi(after))
        summary = {
            "action": "quantize",
            "backend": config.backend,
            "mode": _mode(config),
            "algorithm": config.algorithm,
            "model_path": config.model_path,
            "quantized_model": str(made.path),
            "layers": {"quantized": len(made.quantized), "left": list(made.left)},
            "before": before,
            "after": after,
            "note": made.note,
            "results": str(here.folder / "results.json"),
        }
        write_json(here.folder / "results.json", summary)
        return summary


def _mode(config: QuantizeConfig) -> str:
    """The mode that is really used: Q/DQ files have quantized activations, too."""
    return "static_ptq" if config.backend == "modelopt.onnx" else config.mode


def _measured(made: _Quantized, experiment: Experiment) -> tuple[dict[str, Any], dict[str, Any]]:
    """Size, latency and accuracy before and after, measured side by side."""
    times = seconds_side_by_side([made.before, made.after], made.preprocess)
    told: list[dict[str, Any]] = [
        {"megabytes": round(size, 3), "milliseconds": round(1000 * seconds, 2)}
        for size, seconds in zip(made.megabytes, times, strict=True)
    ]
    data = experiment.dataset.validate_dataset
    if data.data_path:
        annotations = index_dataset(data.data_path, data.args.ignore_tags)
        for row, predictor, when in zip(
            told, (made.before, made.after), ("before", "after"), strict=True
        ):
            label = f"evaluating {when} quantization"
            counts = counts_of(predictor, made.preprocess, annotations, label)
            row |= {
                "hmean": counts.hmean,
                "precision": counts.precision,
                "recall": counts.recall,
                "images": len(annotations),
            }
    return told[0], told[1]


def _kpi(row: Mapping[str, Any]) -> dict[str, float] | None:
    return (
        {name: row[name] for name in ("hmean", "precision", "recall")} if "hmean" in row else None
    )


def _torchao(config: QuantizeConfig, experiment: Experiment, here: Session) -> _Quantized:
    """A checkpoint whose weights are int8."""
    source = _source(config, (".pth", ".tlt", ".ckpt"), "modelopt.onnx")
    if config.mode == "static_ptq":
        raise EnvironmentFault(
            "no-static-torchao",
            "torchao makes no int8 graph of this network for a CPU or an engine",
            got="quantize.mode static_ptq with quantize.backend torchao",
            expected="weight_only_ptq, or activations in int8 by way of ONNX",
            hint="Export the checkpoint, then: quantize.backend=modelopt.onnx "
            "quantize.model_path=FILE.onnx dataset.quant_calibration_dataset.images_dir=FOLDER",
        )
    _require("torchao", "quantize")
    import torch

    from ocdnet.backends.torch import TorchPredictor
    from ocdnet.checkpoint import (
        PRUNED_KEY,
        QUANTIZED_KEY,
        SCALE,
        SPEC_KEY,
        load_exactly,
        read_checkpoint,
    )
    from ocdnet.models.factory import build_model
    from ocdnet.quantization.weights import quantize_weights

    checkpoint = read_checkpoint(source)
    if checkpoint.int8:
        raise DataError(
            "already-quantized",
            f"The weights of {source} are int8 already",
            expected="a checkpoint of training or pruning",
        )
    device = _device(config.device)
    model = build_model(experiment.model)
    load_exactly(model, checkpoint, experiment.model.backbone)
    only, left = layers_of(config.layers)
    weights, report = quantize_weights(
        model.to(device), skip=[*config.skip_names, *left], only=only
    )
    if not weights:
        raise _nothing_left(config)
    state = {key: value.cpu() for key, value in model.state_dict().items()}
    before = sum(value.numel() * value.element_size() for value in state.values())
    for name, weight in weights.items():
        state[f"{name}.weight"] = weight.values.cpu()
        state[f"{name}.weight{SCALE}"] = weight.scale.cpu()
    after = sum(value.numel() * value.element_size() for value in state.values())
    spec = dict(checkpoint.spec) or {"model": {"backbone": experiment.model.backbone}}
    content = {
        "state_dict": state,
        SPEC_KEY: spec,
        QUANTIZED_KEY: {"backend": "torchao", "mode": config.mode, "layers": report.quantized},
        **({PRUNED_KEY: {}} if checkpoint.pruned else {}),
    }
    target = here.folder / TORCHAO_FILE
    with replacing(target) as temporary:
        torch.save(content, temporary)
    args = experiment.dataset.validate_dataset.args
    cpu = torch.device("cpu")
    return _Quantized(
        path=target,
        before=TorchPredictor(source, experiment.model, cpu),
        after=TorchPredictor(target, experiment.model, cpu),
        preprocess=eval_preprocess(args),
        quantized=report.quantized,
        left=report.left,
        megabytes=(before / 1e6, after / 1e6),
        note="int8 weights save memory and disk, not time: they are multiplied out as a layer "
        "computes. For speed: export, then quantize.backend=modelopt.onnx.",
    )


def _modelopt_onnx(config: QuantizeConfig, experiment: Experiment, here: Session) -> _Quantized:
    """An ONNX file with Q/DQ around its layers."""
    source = _source(config, (".onnx",), "torchao")
    for package in ("onnx", "onnxruntime"):
        _require(package, "export")
    if config.mode == "weight_only_ptq":
        LOG.warning("modelopt.onnx quantizes activations, too: quantize.mode is static_ptq.")
    from ocdnet.backends.onnx import OnnxPredictor
    from ocdnet.quantization.calibration import calibration_batches, calibration_images
    from ocdnet.quantization.qdq import insert_qdq
    from ocdnet.quantization.ranges import calibrate

    before = OnnxPredictor(source)
    preprocess = Preprocess(before.size or _SIZE, before.img_mode or "BGR")
    folder = experiment.dataset.quant_calibration_dataset.images_dir
    images = calibration_images([Path(folder)])
    chosen = images[:: max(1, len(images) // _CALIBRATED_ON)][:_CALIBRATED_ON]
    only, left = layers_of(config.layers)
    LOG.info("Calibrating on %d of %d images.", len(chosen), len(images))
    ranges = calibrate(
        source, calibration_batches(chosen, preprocess, 1, len(chosen)), config.algorithm
    )
    target = here.folder / f"quantized_{source.stem}.onnx"
    report = insert_qdq(
        source,
        target,
        ranges,
        activations=(config.backend_kwargs or {}).get("activations") or "int8",
        skip=[*config.skip_names, *left],
        only=only,
    )
    if not report.quantized:
        target.unlink()
        raise _nothing_left(config)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    LOG.info("Quantized from %s (sha256 %s).", source, digest[:12])
    return _Quantized(
        path=target,
        before=before,
        after=OnnxPredictor(target),
        preprocess=preprocess,
        quantized=report.quantized,
        left=report.left,
        megabytes=(source.stat().st_size / 1e6, target.stat().st_size / 1e6),
        note="Q/DQ with symmetric int8 activations, the form that TensorRT takes. The fastest on a "
        "CPU: an engine of the float ONNX, gen_trt_engine.tensorrt.data_type=INT8.",
    )


def _modelopt_pytorch(config: QuantizeConfig, _: Experiment, __: Session) -> _Quantized:
    raise EnvironmentFault(
        "no-modelopt",
        "quantize.backend modelopt.pytorch needs NVIDIA's modelopt, and is not available in this "
        "release",
        got=config.backend,
        expected="torchao (weights), or modelopt.onnx (weights and activations)",
        hint="pip install nvidia-modelopt serves NVIDIA's own image: "
        "ocdnet plan --action quantize --platform tao-docker",
    )


def _source(config: QuantizeConfig, suffixes: tuple[str, ...], other: str) -> Path:
    """The model, of a kind that the backend takes."""
    path = Path(config.model_path)
    if path.suffix not in suffixes:
        raise DataError(
            "wrong-model-file",
            f"quantize.backend {config.backend} does not take {path.name or 'no file'}",
            got=path.suffix or "no suffix",
            expected=f"a {suffixes[0]} file",
            hint=f"Set quantize.backend={other}, or give a {suffixes[0]} file.",
        )
    if not path.is_file():
        raise DataError("no-model", f"There is no file {path}", got=str(path))
    return path


def _device(name: str) -> Any:
    """The torch device of `quantize.device`: TAO's default, cuda, means what is there."""
    import torch

    from ocdnet.devices import torch_device

    if name == "cpu":
        return torch.device("cpu")
    index = int(name.partition(":")[2] or 0)
    return torch_device(1, (index,))


def _require(package: str, extra: str) -> None:
    if find_spec(package) is None:
        raise EnvironmentFault(
            "missing-package",
            f"Quantization needs {package}",
            hint=install.command(extra),
        )


def _nothing_left(config: QuantizeConfig) -> DataError:
    return DataError(
        "nothing-to-quantize",
        "No layer is left to quantize",
        got={"layers": config.layers, "skip_names": config.skip_names},
        expected="names of layers, as in the checkpoint's keys, with * for any",
    )


_BACKENDS: Mapping[str, Callable[[QuantizeConfig, Experiment, Session], _Quantized]] = {
    "torchao": _torchao,
    "modelopt.onnx": _modelopt_onnx,
    "modelopt.pytorch": _modelopt_pytorch,
}
