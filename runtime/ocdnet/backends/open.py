"""From a model file to its predictor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ocdnet.backends.base import Predictor
from ocdnet.config.model import ModelConfig
from ocdnet.data.preprocess import Preprocess
from ocdnet.errors import DataError


def open_predictor(
    path: Path, model: ModelConfig, num_gpus: int = 1, gpu_ids: Sequence[int] = (0,)
) -> Predictor:
    """The predictor of a .pth checkpoint or an .onnx file, by suffix.

    Raises:
        DataError: another suffix, or a file that cannot be used.
        EnvironmentFault: the backend or the device is not here.
    """
    if path.suffix == ".onnx":
        from ocdnet.backends.onnx import OnnxPredictor

        return OnnxPredictor(path)
    if path.suffix in (".pth", ".tlt", ".ckpt"):
        from ocdnet.backends.torch import TorchPredictor
        from ocdnet.devices import torch_device

        return TorchPredictor(path, model, torch_device(num_gpus, gpu_ids))
    raise DataError(
        "unknown-model-file",
        f"Cannot tell what kind of model {path} is",
        got=path.suffix,
        expected=".pth or .onnx",
    )


def check_fit(predictor: Predictor, preprocess: Preprocess, path: Path) -> None:
    """Refuse to feed a network other images than it was made for.

    Raises:
        DataError: the spec's image mode or size is not the artifact's; both are named.
    """
    if predictor.img_mode not in (None, preprocess.img_mode):
        raise DataError(
            "img-mode-mismatch",
            f"{path} was made for images in another channel order",
            got=preprocess.img_mode,
            expected=predictor.img_mode,
            hint=f"Set img_mode to {predictor.img_mode} in the spec.",
        )
    if predictor.size is not None and predictor.size != preprocess.size:
        width, height = predictor.size
        raise DataError(
            "size-mismatch",
            f"{path} takes images of one size only",
            got=preprocess.size,
            expected=f"width {width}, height {height}",
            hint="Set that size in the spec, or export the network again with yours.",
        )
