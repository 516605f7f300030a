"""INT8 networks on CPUs on which they compute something else than where they were made."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocdnet.findings import note
from ocdnet.hardware import int8_overflows

_SEVEN_BITS = 64
"""Magnitude of the largest int8 weight that never overflows (ONNX Runtime's `reduce_range`)."""
_COMPUTE_INT8 = {"QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "ConvInteger"}


def note_overflow(path: Path, weights: Iterable[NDArray[Any]]) -> None:
    """Note that a network's int8 layers overflow on this CPU, where they do.

    Args:
        path: the network's file.
        weights: int8, those that convolutions are computed with; not looked at on other CPUs.
    """
    if int8_overflows() and any(np.abs(w.astype(np.int16)).max() > _SEVEN_BITS for w in weights):
        note(
            "int8-overflow",
            "INT8 weights of 8 bits overflow on this CPU, which has no VNNI: other regions are "
            "found than on one that has it; `ocdnet gen_trt_engine` on this machine writes 7 bits",
            file=path,
            once=True,
        )


def onnx_weights(path: Path) -> Iterator[NDArray[Any]]:
    """The int8 weights of an ONNX file that computes in int8; none where they are only stored so.

    Raises:
        DataError: it cannot be read.
    """
    if not operators_in(path, _COMPUTE_INT8):  # most files: they are not read as ONNX for this
        return
    from onnx import TensorProto

    from ocdnet.onnx_file import array, load_stored

    graph = load_stored(path).graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.INT8 and len(tensor.dims) == 4 and 0 not in tensor.dims:
            yield array(tensor, path)


def operators_in(path: Path, names: Iterable[str]) -> set[str]:
    """Those of some operators whose names stand in an ONNX file, found without ONNX."""
    with (
        suppress(OSError, ValueError),
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return {name for name in names if content.find(name.encode()) >= 0}
    return set()


def openvino_weights(model: Any) -> Iterator[NDArray[Any]]:
    """The same of a model that OpenVINO has read."""
    for operation in model.get_ops():
        if operation.get_type_name() == "Constant" and len(operation.shape) == 4:
            values = operation.data
            if values.dtype == np.int8 and values.size:
                yield values
