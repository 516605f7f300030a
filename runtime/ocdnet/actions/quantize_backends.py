"""What each `quantize.backend` does: a model in, a smaller one out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ocdnet import install
from ocdnet.backends.base import Predictor
from ocdnet.backends.open import check_fit
from ocdnet.config.experiment import Experiment
from ocdnet.config.quantize import QuantizeConfig, layers_of
from ocdnet.data.preprocess import Preprocess
from ocdnet.data.steps import eval_preprocess
from ocdnet.errors import DataError, EnvironmentFault
from ocdnet.files import replacing
from ocdnet.spec_keys import CALIBRATION_DATA

LOG = logging.getLogger("ocdnet")

_NEEDS = "Quantization needs"
_CHECKPOINTS = (".pth", ".tlt", ".ckpt")
_SIZE = (1280, 736)
"""Input (width, height) of an ONNX file that takes any size."""
FASTEST = (
    "The fastest on a CPU is an INT8 engine of the exported float ONNX, for OpenVINO or ONNX "
    "Runtime: `ocdnet gen_trt_engine` with gen_trt_engine.tensorrt.data_type=INT8; on an NVIDIA "
    "GPU the same command builds it for TensorRT."
)
"""Ends the note of every backend, and stands in references/compress.md."""
_CALIBRATION_IMAGES = 64
"""Largest number of images to calibrate on: more take time and hardly change the ranges."""


@dataclass(frozen=True)
class Quantized:
    """A quantized model.

    Attributes:
        path: its file.
        before: predictor of the model that was quantized.
        after: predictor of the file.
        preprocess: how images become their input.
        quantized: names of the layers that are int8.
        left: names of those that are not.
        megabytes: of the weights, before and after.
        mode: `weight_only_ptq`, or `static_ptq` if activations were quantized, too.
        note: what a user should know about it.
    """

    path: Path
    before: Predictor
    after: Predictor
    preprocess: Preprocess
    quantized: Sequence[str]
    left: Sequence[str]
    megabytes: tuple[float, float]
    mode: Literal["static_ptq", "weight_only_ptq"]
    note: str


def target_name(config: QuantizeConfig) -> str:
    """Name of the file that a backend writes."""
    if config.backend == "modelopt.onnx":
        return f"quantized_{Path(config.model_path).stem}.onnx"
    return f"quantized_model_{config.backend.removesuffix('.pytorch')}.pth"


def _torchao(config: QuantizeConfig, experiment: Experiment, folder: Path) -> Quantized:
    """A checkpoint whose weights are int8."""
    source = _source(config, _CHECKPOINTS, "modelopt.onnx")
    if config.mode == "static_ptq":
        raise EnvironmentFault(
            "no-static-torchao",
            "torchao cannot quantize this network's activations for a CPU or an engine",
            got="quantize.mode static_ptq with quantize.backend torchao",
            expected="weight_only_ptq, or int8 activations in an ONNX file",
            hint="Export the checkpoint, then: quantize.backend=modelopt.onnx "
            "quantize.model_path=FILE.onnx dataset.quant_calibration_dataset.images_dir=FOLDER",
        )
    install.require("torchao", f"{_NEEDS} torchao", "quantize")
    from ocdnet.quantization.weights import quantize_weights

    def weights(model: Any, skip: Sequence[str], only: Sequence[str] | None) -> Any:
        return quantize_weights(model.to(_device(config.device)), skip, only)[0]

    return _checkpoint(
        config,
        experiment,
        (source, folder / target_name(config)),
        weights,
        "int8 weights save memory and disk, not time: each layer converts them to floats as it "
        f"computes. {FASTEST}",
    )


def _modelopt_pytorch(config: QuantizeConfig, experiment: Experiment, folder: Path) -> Quantized:
    """A checkpoint with modelopt's int8 weights and, in static_ptq, the scales of the inputs."""
    source = _source(config, _CHECKPOINTS, "modelopt.onnx")
    install.require("modelopt", f"{_NEEDS} modelopt", "modelopt")
    import torch

    from ocdnet.backends.torch import TorchPredictor
    from ocdnet.models.quantized import layers
    from ocdnet.quantization.by_modelopt import quantize_network
    from ocdnet.quantization.weights import chosen

    static = config.mode == "static_ptq"
    batches = None
    if static:
        before = TorchPredictor(source, experiment.model, torch.device("cpu"))
        wanted = eval_preprocess(experiment.dataset.validate_dataset.args)
        batches = _calibration(experiment, check_fit(before, wanted, source))

    def weights(model: Any, skip: Sequence[str], only: Sequence[str] | None) -> Any:
        names = [name for name, module in layers(model) if chosen(name, module, skip, only)]
        return quantize_network(model, batches, names)

    return _checkpoint(
        config,
        experiment,
        (source, folder / target_name(config)),
        weights,
        "int8 weights, and inputs rounded to int8: as accurate as an integer engine, but not as "
        f"fast. {FASTEST}"
        if static
        else f"int8 weights save memory and disk, not time. {FASTEST}",
    )


def _checkpoint(
    config: QuantizeConfig,
    experiment: Experiment,
    files: tuple[Path, Path],
    quantize: Callable[[Any, Sequence[str], Sequence[str] | None], Mapping[str, Any]],
    note: str,
) -> Quantized:
    """Read a checkpoint, quantize its layers with `quantize`, and write it, marked as quantized.

    Args:
        config: the `quantize` section.
        experiment: the spec, which takes the checkpoint's network.
        files: the checkpoint, and where to write.
        quantize: from a model, the names to leave and the only ones to take, if given, to the
            int8 weights by layer.
        note: the result's.
    """
    import torch

    from ocdnet.backends.torch import TorchPredictor
    from ocdnet.models.factory import build_model
    from ocdnet.models.quantized import layers
    from ocdnet.networks import network_of
    from ocdnet.weights import load_exactly, quantized_content, read_checkpoint, save

    source, target = files
    checkpoint = read_checkpoint(source)
    if checkpoint.int8:
        raise DataError(
            "already-quantized",
            f"The weights of {source} are int8 already",
            expected="a checkpoint of training or pruning",
        )
    experiment.model = network_of(checkpoint, experiment.model)
    model = build_model(experiment.model)
    load_exactly(model, checkpoint, experiment.model.backbone)
    state = model.state_dict()
    only, left = layers_of(config.layers)
    weights = quantize(model, [*config.skip_names, *left], only)
    if not weights:
        raise _nothing_left(config)
    how = {"backend": config.backend, "mode": config.mode, "layers": list(weights)}
    content = quantized_content(checkpoint, experiment.model.backbone, state, weights, how)
    with replacing(target) as temporary:
        save(content, temporary)
    cpu = torch.device("cpu")
    return Quantized(
        path=target,
        before=TorchPredictor(source, experiment.model, cpu),
        after=TorchPredictor(target, experiment.model, cpu),
        preprocess=eval_preprocess(experiment.dataset.validate_dataset.args),
        quantized=list(weights),
        left=[name for name, _ in layers(model) if name not in weights],
        megabytes=(_megabytes(state), _megabytes(content["state_dict"])),
        mode=config.mode,
        note=note,
    )


def _modelopt_onnx(config: QuantizeConfig, experiment: Experiment, folder: Path) -> Quantized:
    """An ONNX file with Q/DQ around its layers."""
    source = _source(config, (".onnx",), "torchao")
    for package in ("onnx", "onnxruntime"):
        install.require(package, f"{_NEEDS} {package}", "export")
    if config.mode == "weight_only_ptq":
        LOG.warning("modelopt.onnx quantizes activations, too: quantize.mode is static_ptq.")
    from ocdnet.actions.engine_source import try_out
    from ocdnet.backends.onnx import OnnxPredictor
    from ocdnet.onnx_file import check_weights, weight_files

    before = OnnxPredictor(source)
    wanted = Preprocess(
        before.size if isinstance(before.size, tuple) else _SIZE, before.img_mode or "BGR"
    )
    preprocess = check_fit(before, wanted, source)
    check_weights(source)
    try_out(before, preprocess)
    target = folder / target_name(config)
    by, report = _with_qdq(config, (source, target), _calibration(experiment, preprocess))
    if not report.quantized:
        target.unlink()
        raise _nothing_left(config)
    after = OnnxPredictor(target)
    try:
        _compare(before, after, preprocess, experiment)
    except BaseException:
        target.unlink()
        raise
    return Quantized(
        path=target,
        before=before,
        after=after,
        preprocess=preprocess,
        quantized=report.quantized,
        left=report.left,
        megabytes=(
            sum(file.stat().st_size for file in (source, *weight_files(source))) / 1e6,
            target.stat().st_size / 1e6,
        ),
        mode="static_ptq",
        note=f"Q/DQ by {by}. {FASTEST}",
    )


def _with_qdq(
    config: QuantizeConfig, files: tuple[Path, Path], batches: Iterator[NDArray[np.float32]]
) -> tuple[str, Any]:
    """Write an ONNX file with Q/DQ; the name of the quantizer, and its report on the layers."""
    only, left = layers_of(config.layers)
    skip = [*config.skip_names, *left]
    activations: Any = (config.backend_kwargs or {}).get("activations") or "int8"
    if find_spec("modelopt") is not None and activations == "int8":
        from ocdnet.quantization.by_modelopt import quantize_onnx

        report = quantize_onnx(*files, batches, config.algorithm, skip=skip, only=only)
        return "nvidia-modelopt", report
    from ocdnet.quantization.qdq import insert_qdq
    from ocdnet.quantization.ranges import calibrate

    ranges = calibrate(files[0], batches, config.algorithm)
    report = insert_qdq(*files, ranges, activations=activations, skip=skip, only=only)
    return "ONNX Runtime's quantizer", report


def _compare(
    before: Predictor, after: Predictor, preprocess: Preprocess, experiment: Experiment
) -> None:
    """Compare what a network finds in its calibration images; raises as `check_agreement`."""
    from ocdnet.actions.agreement import check_agreement, images_with_text

    texts = images_with_text(before, preprocess, _calibration_images(experiment), CALIBRATION_DATA)
    check_agreement(before, after, preprocess, texts, CALIBRATION_DATA)


def _calibration_images(experiment: Experiment) -> list[Path]:
    from ocdnet.quantization.calibration import calibration_images

    folder = Path(experiment.dataset.quant_calibration_dataset.images_dir)
    return calibration_images([folder], _CALIBRATION_IMAGES)


def _calibration(experiment: Experiment, preprocess: Preprocess) -> Iterator[NDArray[np.float32]]:
    from ocdnet.quantization.calibration import calibration_batches

    images = _calibration_images(experiment)
    LOG.info("Calibrating on %d images.", len(images))
    return calibration_batches(images, preprocess, 1)


def _megabytes(state: Mapping[str, Any]) -> float:
    return sum(value.numel() * value.element_size() for value in state.values()) / 1e6


def _source(config: QuantizeConfig, suffixes: tuple[str, ...], other: str) -> Path:
    """The model's file, after a check that the backend takes its kind."""
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
        raise DataError(
            "no-model", f"There is no file {path}", got=str(path), expected=f"a {suffixes[0]} file"
        )
    return path


def _device(name: str) -> Any:
    """The torch device of `quantize.device`; TAO's default, cuda, is the CPU without a GPU."""
    import torch

    from ocdnet.devices import torch_device

    if name == "cpu":
        return torch.device("cpu")
    index = int(name.partition(":")[2] or 0)
    return torch_device(1, (index,))


def _nothing_left(config: QuantizeConfig) -> DataError:
    return DataError(
        "nothing-to-quantize",
        "No layer is left to quantize",
        got={"layers": config.layers, "skip_names": config.skip_names},
        expected="names of layers, as in the checkpoint's keys, with * for any",
    )


BACKENDS: Mapping[str, Callable[[QuantizeConfig, Experiment, Path], Quantized]] = {
    "torchao": _torchao,
    "modelopt.onnx": _modelopt_onnx,
    "modelopt.pytorch": _modelopt_pytorch,
}
"""By their names in the spec; each writes a file into the folder."""
