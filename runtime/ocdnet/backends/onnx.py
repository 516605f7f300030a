"""Exported networks through ONNX Runtime; needs no torch."""

from __future__ import annotations

import os
from pathlib import Path

from ocdnet import install
from ocdnet.backends.base import Batch
from ocdnet.data.preprocess import Preprocess
from ocdnet.errors import DataError, EnvironmentFault


class OnnxPredictor:
    """Predictor of an .onnx file that `ocdnet export` wrote.

    Args:
        path: the file.

    Raises:
        EnvironmentFault: ONNX Runtime is not installed.
        DataError: absent, damaged, or without its preprocessing.
    """

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime as ort
            from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors
        except ImportError as error:
            raise EnvironmentFault(
                "no-onnxruntime",
                "ONNX Runtime is not installed",
                hint=install.command("deploy"),
            ) from error
        if not path.is_file():
            raise DataError("no-model", f"There is no file {path}", got=str(path))
        options = ort.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        options.log_severity_level = 3
        try:
            self.session = ort.InferenceSession(path, options, providers=_providers(ort))
        except (ort_errors.InvalidProtobuf, ort_errors.InvalidGraph, ort_errors.Fail) as error:
            raise DataError(
                "bad-onnx",
                f"ONNX Runtime cannot load {path}",
                got=str(error).splitlines()[0][:200],
                expected="a file written by `ocdnet export`",
            ) from error
        metadata = self.session.get_modelmeta().custom_metadata_map
        preprocess = Preprocess.from_metadata(metadata)
        self.img_mode: str | None = preprocess.img_mode
        self.size = preprocess.size if isinstance(preprocess.size, tuple) else None
        self._input = self.session.get_inputs()[0].name

    def __call__(self, images: Batch) -> Batch:
        """float32[B, 3, H, W] -> probability float32[B, H, W]."""
        maps: Batch = self.session.run(None, {self._input: images})[0][:, 0]
        return maps


def _providers(ort: object) -> list[str]:
    """CUDA where this ONNX Runtime has it, else the CPU."""
    available: list[str] = ort.get_available_providers()  # type: ignore[attr-defined]
    return [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in available]
