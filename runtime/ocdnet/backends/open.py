"""From a model file to its predictor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ocdnet.backends.base import Predictor
from ocdnet.backends.sidecar import MOST_BYTES, Engine, beside, read_engine
from ocdnet.config.model import ModelConfig
from ocdnet.data.preprocess import Preprocess
from ocdnet.data.resizing import Room
from ocdnet.errors import DataError, EnvironmentFault, UsageError
from ocdnet.files import read_regular
from ocdnet.heap import keep_freed_memory
from ocdnet.install import missing_package

_TORCH = (".pth", ".tlt", ".ckpt")


def open_model(path: Path, device: str = "auto") -> Predictor:
    """The predictor of a model file of any kind, which itself says what its network is.

    Args:
        path: a checkpoint, an ONNX file or an engine.
        device: auto (a GPU where there is one), cpu, cuda or cuda:N.

    Raises:
        DataError: it cannot be used, or a checkpoint does not say what its network is.
        EnvironmentFault: a package or the device is not here.
    """
    wanted, _, number = device.partition(":")
    gpu = int(number or 0)
    if path.suffix in _TORCH:
        predictor: Predictor = _of_torch(path, wanted, gpu)
    else:
        predictor = open_engine(path, None if wanted == "cpu" else [gpu])
    if wanted == "cuda" and predictor.device_type != "cuda":
        raise EnvironmentFault(
            "no-such-gpu",
            f"{path} cannot be run on a GPU here",
            got=f"{predictor.backend} on the CPU",
            expected="a package that computes on CUDA, and a device",
            hint="Use device auto, or build a TensorRT engine.",
        )
    return predictor


def _of_torch(path: Path, wanted: str, gpu: int) -> Predictor:
    try:
        from ocdnet.backends.torch import torch_predictor
        from ocdnet.devices import torch_device
    except ModuleNotFoundError as error:
        raise missing_package(error, f"The checkpoint {path.name}") or error from error
    return torch_predictor(path, None, torch_device(0 if wanted == "cpu" else 1, [gpu]))


def open_predictor(
    path: Path, model: ModelConfig, num_gpus: int = 1, gpu_ids: Sequence[int] = (0,)
) -> Predictor:
    """The predictor of a .pth checkpoint or an .onnx file, by suffix.

    For actions: with a checkpoint on the CPU this process keeps the memory that it frees.

    Raises:
        DataError: another suffix, or a file that cannot be used.
        EnvironmentFault: the backend or the device is not here.
    """
    if path.suffix == ".onnx":
        from ocdnet.backends.onnx import OnnxPredictor

        return OnnxPredictor(path, gpu=_first(gpu_ids))
    if path.suffix in _TORCH:
        from ocdnet.backends.torch import torch_predictor
        from ocdnet.devices import torch_device

        device = torch_device(num_gpus, gpu_ids)
        if device.type == "cpu":
            keep_freed_memory()
        return torch_predictor(path, model, device)
    raise DataError(
        "unknown-model-file",
        f"{path} has not the suffix of a model",
        got=path.suffix,
        expected=".pth or .onnx",
        hint="An engine is given as trt_engine, not as checkpoint.",
    )


def open_engine(path: Path, gpu_ids: Sequence[int] | None = (0,)) -> Predictor:
    """The predictor of an engine, of the kind that the JSON file beside it names.

    Without that file an `.onnx` is an ONNX file, and anything else a TensorRT engine that TAO's own
    tools built.

    Args:
        path: its file.
        gpu_ids: the first of them is used, where the engine's runtime uses GPUs; None: the CPU.

    Raises:
        UsageError: a TensorRT engine is to run on the CPU.
        DataError: absent, damaged, or not of the kind that the JSON file names.
        EnvironmentFault: the package that runs it is not installed.
    """
    if not path.is_file():
        raise DataError(
            "no-engine",
            f"There is no file {path}",
            got=str(path),
            hint="`ocdnet gen_trt_engine` writes an engine.",
        )
    engine = None if is_foreign(path) else read_engine(path)
    gpu = None if gpu_ids is None else _first(gpu_ids)
    if engine is not None:
        return engine_predictor(path, engine, gpu)
    if path.suffix == ".onnx":
        from ocdnet.backends.onnx import OnnxPredictor

        return OnnxPredictor(path, gpu=gpu)
    try:
        return _tensorrt(path, None, gpu)
    except EnvironmentFault as fault:
        raise EnvironmentFault(
            fault.code,
            f"{path} has no {beside(path).name}, so it is taken for a TensorRT engine; "
            f"{fault.message}",
            got=fault.got,
            hint=fault.hint,
        ) from fault


def engine_predictor(path: Path, engine: Engine, gpu: int | None = 0) -> Predictor:
    """The predictor of an engine that is described; None: on the CPU. Raises as `open_engine`."""
    if engine.kind == "onnxruntime":
        from ocdnet.backends.onnx import OnnxPredictor

        return OnnxPredictor(path, engine, gpu=gpu)
    if engine.kind == "openvino":
        from ocdnet.backends.openvino import OpenVinoPredictor

        return OpenVinoPredictor(path, engine)
    return _tensorrt(path, engine, gpu)


def _tensorrt(path: Path, engine: Engine | None, gpu: int | None) -> Predictor:
    if gpu is None:
        raise UsageError("no-cpu-engine", f"{path} is a TensorRT engine: it needs a GPU")
    from ocdnet.backends.tensorrt import TensorRTPredictor

    return TensorRTPredictor(path, engine, gpu)


def _first(gpu_ids: Sequence[int]) -> int:
    return gpu_ids[0] if gpu_ids else 0


def is_foreign(path: Path) -> bool:
    """Whether it is an .onnx that is no engine: its JSON file, if any, says how it is fed."""
    if path.suffix != ".onnx":
        return False
    try:
        return b'"engine_sha256"' not in read_regular(beside(path), MOST_BYTES)
    except OSError:
        return True


def check_fit(
    predictor: Predictor, preprocess: Preprocess, path: Path, batch_size: int = 1
) -> Preprocess:
    """Check that the spec's images are those that a network was made for.

    Args:
        predictor: the network.
        preprocess: its input, as the spec describes it.
        path: the model's file.
        batch_size: images a batch.

    Returns:
        The spec's preprocessing with the network's own normalisation, and the sizes it takes.

    Raises:
        DataError: the spec's image mode, size or batch is not the artifact's; both are named.
    """
    if predictor.img_mode not in (None, preprocess.img_mode):
        raise DataError(
            "img-mode-mismatch",
            f"{path} was made for images in another channel order",
            got=preprocess.img_mode,
            expected=predictor.img_mode,
            hint=f"Set img_mode to {predictor.img_mode} in the spec: inference.img_mode, "
            "gen_trt_engine.img_mode, else dataset.validate_dataset.args.img_mode.",
        )
    room = _room(predictor, preprocess, path)
    check_batch(predictor, batch_size)
    how = predictor.normalisation or preprocess.normalisation
    return replace(preprocess, normalisation=how, room=room)


def check_batch(predictor: Predictor, batch_size: int) -> None:
    """Raise DataError where a network takes fewer images a batch."""
    if predictor.batch is not None and batch_size > predictor.batch.max:
        raise DataError(
            "batch-above-profile",
            f"{predictor.path} takes fewer images a batch",
            got=f"batch_size {batch_size}",
            expected=f"{predictor.batch.max} at most",
            hint="Lower batch_size, or build an engine with a higher "
            "gen_trt_engine.tensorrt.max_batch_size.",
        )


def _room(predictor: Predictor, preprocess: Preprocess, path: Path) -> Room | None:
    """The sizes that a network takes, None for any; raises DataError where the spec's is none."""
    size = predictor.size
    if size is None:
        return None
    room = size if isinstance(size, Room) else Room(size, size)
    given = preprocess.size
    sides = zip(room.least, given if isinstance(given, tuple) else (0, 0), room.most, strict=True)
    if all(least <= side <= most for least, side, most in sides):
        return room
    (width, height), one = room.most, room.least == room.most
    raise DataError(
        "size-mismatch",
        f"{path} takes images of {'one size' if one else 'certain sizes'} only",
        got=given,
        expected=f"width {width}, height {height}"
        if one
        else f"a width and a height from {list(room.least)} to {list(room.most)}",
        hint="Set that size in the spec, or export the network again with yours"
        " (export.dynamic_size=true: any size).",
    )
