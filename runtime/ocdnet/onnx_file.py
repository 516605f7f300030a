"""ONNX files as data: their weights, wherever these lie, and what can be wrong with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from ocdnet.errors import DataError
from ocdnet.files import sha256

_LAYERS = ("Conv", "ConvTranspose", "DeformConv", "MatMul", "Gemm", "BatchNormalization")
"""Operators whose constants are weights; others may hold an infinity on purpose, e.g. a mask."""

_STORED = [onnx.TensorProto.INT8, onnx.TensorProto.FLOAT]
"""Types of a weight that is stored in int8, and of its scale."""


def load_whole(path: Path) -> onnx.ModelProto:
    """A model with its weights inside, also those that lie in files beside it, and in float.

    Weights that are only stored in int8, while nothing is computed in it, become float.

    Raises:
        DataError: it cannot be read, or a file with weights is missing.
    """
    model = load_stored(path)
    if is_packed(model.graph):
        _widen(model.graph, path)
    return model


def load_stored(path: Path) -> onnx.ModelProto:
    """A model with its weights inside, as they are stored; raises as `load_whole`."""
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


def is_packed(graph: onnx.GraphProto) -> bool:
    """Whether weights are stored in int8, but nothing is computed in it."""
    return not any(node.op_type == "QuantizeLinear" for node in graph.node) and any(
        widenings(graph)
    )


def widenings(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes that make float32 of symmetric int8 constants: weight and scale are their input.

    Those with a scale for each block of a channel are not among them.
    """
    constants = {one.name: one.data_type for one in graph.initializer}
    for node in graph.node:
        names = list(node.input)
        types = [constants.get(name) for name in names]
        in_blocks = any(one.name == "block_size" and one.i for one in node.attribute)
        if node.op_type == "DequantizeLinear" and types == _STORED and not in_blocks:
            yield node


def stored(
    node: onnx.NodeProto, tensors: Mapping[str, onnx.TensorProto], path: Path
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """An int8 constant, and its scales in a shape that multiplies with it.

    Args:
        node: one of `widenings`.
        tensors: the graph's constants, by name.
        path: the file, for messages.

    Raises:
        DataError: they do not fit each other, or their bytes are not as many as their shapes say.
    """
    weight, scale = (array(tensors[name], path) for name in node.input)
    axis = next((int(one.i) for one in node.attribute if one.name == "axis"), 1)
    shape = [1] * weight.ndim
    try:
        if scale.size > 1:
            shape[axis] = weight.shape[axis]
        return weight, scale.reshape(shape)
    except (ValueError, IndexError) as error:
        raise _damaged(path, str(error)) from error


def _widen(graph: onnx.GraphProto, path: Path) -> None:
    """Put the floats that int8 constants stand for in their place."""
    tensors = {one.name: one for one in graph.initializer}
    nodes = list(widenings(graph))
    for node in nodes:
        weight, scale = stored(node, tensors, path)
        values = weight.astype(np.float32) * scale
        graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for name in {name for node in nodes for name in node.input} - used:
        graph.initializer.remove(tensors[name])


def array(tensor: onnx.TensorProto, path: Path) -> NDArray[Any]:
    """A constant's values; raises DataError where its bytes are not as many as its shape says."""
    try:
        values: NDArray[Any] = numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise _damaged(path, str(error)) from error
    return values


def _damaged(path: Path, got: str) -> DataError:
    return DataError("bad-onnx", f"{path} is damaged", got=got[:200], expected="an ONNX file")


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
