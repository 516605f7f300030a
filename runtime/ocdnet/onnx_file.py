"""ONNX files as data: their weights, wherever these lie, and what can be wrong with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from ocdnet.errors import DataError
from ocdnet.files import sha256

_LAYERS = ("Conv", "ConvTranspose", "DeformConv", "MatMul", "Gemm", "BatchNormalization")
"""Operators whose constants are weights; others may hold an infinity on purpose, e.g. a mask."""


def load_whole(path: Path) -> onnx.ModelProto:
    """A model with its weights inside, also those that lie in files beside it.

    Raises:
        DataError: it cannot be read, or a file with weights is missing.
    """
    try:
        model = onnx.load(path)
        model.SerializeToString()  # beyond 2 GB it cannot be written again
    except Exception as error:
        raise DataError(
            "bad-onnx",
            f"Cannot read {path} with its weights",
            got=(str(error).strip() or type(error).__name__).splitlines()[0][:200],
            expected="an ONNX file of less than 2 GB, and beside it the files that hold its "
            "weights, if any",
        ) from error
    return model


def weight_files(path: Path) -> list[Path]:
    """Files beside a model that hold its weights, in the order of their names."""
    model = onnx.load(path, load_external_data=False)
    names = {ExternalDataInfo(t).location for t in _tensors(model.graph) if uses_external_data(t)}
    return [path.parent / name for name in sorted(names)]


def model_sha256(path: Path) -> str:
    """Digest of a model: of its file and, where weights lie beside it, of those files, too.

    Raises:
        DataError: a file is missing.
    """
    digests = [sha256(file) for file in (path, *weight_files(path))]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def check_weights(path: Path) -> None:
    """Refuse a model whose weights are not numbers.

    Raises:
        DataError: one is NaN, or infinite where a layer multiplies by it.
    """
    model = load_whole(path)
    weights = {
        name for node in model.graph.node if node.op_type in _LAYERS for name in node.input[1:]
    }
    for tensor in _tensors(model.graph):
        if tensor.data_type not in (
            onnx.TensorProto.FLOAT,
            onnx.TensorProto.FLOAT16,
            onnx.TensorProto.BFLOAT16,
            onnx.TensorProto.DOUBLE,
        ):
            continue
        values = np.asarray(numpy_helper.to_array(tensor), np.float64)
        wrong = ~np.isfinite(values) if tensor.name in weights else np.isnan(values)
        if wrong.any():
            raise DataError(
                "not-finite",
                f"{path} holds weights that are NaN or infinite",
                got=f"{int(wrong.sum())} of {values.size} values of {tensor.name or 'a constant'}",
                expected="finite weights",
                hint="Export a checkpoint from before the training diverged.",
            )


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """The constants of a graph and of the graphs within."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)
