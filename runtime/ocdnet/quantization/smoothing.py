"""Channels of a tensor brought to like ranges before it is quantized with one scale.

The levels of DBNet's pyramid differ by a factor of ten and more, and their channels by as much
again: one int8 scale over their concatenation leaves most of them a few steps. So a channel is
divided by a factor where one convolution makes it and multiplied where another reads it, which
changes nothing in float (SmoothQuant, arXiv 2211.10438, with its exponent of 1/2; 1 where the
reader's own weights stay in float).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import numpy_helper

_TRANSPARENT = ("Relu", "Resize", "MaxPool", "Concat")
"""What a positive factor for each channel passes through."""

Factors = Mapping[str, list[float]]
"""By the name of the convolution that reads them: a factor for each of its input channels."""


@dataclass(frozen=True)
class _Link:
    """A convolution, and those that make its input.

    Attributes:
        reader: the convolution, plain or transposed.
        makers: convolutions in the order of their channels.
    """

    reader: onnx.NodeProto
    makers: list[onnx.NodeProto]

    @property
    def axis(self) -> int:
        """That of the input channels in the reader's weight."""
        return int(self.reader.op_type == "Conv")


def smoothing_factors(model: onnx.ModelProto, batches: Iterable[NDArray[np.float32]]) -> Factors:
    """The factors for a graph, from what its channels reach.

    Args:
        model: as `graphs.prepared` made it.
        batches: float32[B, 3, H, W] each, at least one.
    """
    weights = _weights(model)
    links = _links(model, weights)
    if not links:
        return {}
    reached = _channel_maxima(model, [link.reader.input[0] for link in links], batches)
    return {
        link.reader.name: _factor(link, weights, reached[link.reader.input[0]]).tolist()
        for link in links
    }


def _factor(
    link: _Link, weights: Mapping[str, NDArray[np.float32]], made: NDArray[np.float32]
) -> NDArray[np.float64]:
    read = np.abs(weights[link.reader.input[1]]).max(axis=(1 - link.axis, 2, 3))
    known = (read > 0) & (made > 0)
    factor = np.ones(len(made))
    factor[known] = made[known]
    if link.reader.op_type == "Conv":
        factor[known] = np.sqrt(made[known] / read[known])
    return factor / factor[known].mean() if known.any() else factor


def smooth(model: onnx.ModelProto, factors: Factors) -> None:
    """Divide and multiply the weights of a graph; changed in place.

    Raises:
        ValueError: the factors are another graph's.
    """
    weights = _weights(model)
    links = {link.reader.name: link for link in _links(model, weights)}
    changed: dict[str, NDArray[np.float32]] = {}
    for name, values in factors.items():
        link, factor = links.get(name), np.array(values, np.float32)
        if link is None or len(factor) != weights[link.reader.input[1]].shape[link.axis]:
            raise ValueError(f"{name} has no such input")
        reads, shape = link.reader.input[1], [1, 1, 1, 1]
        shape[link.axis] = -1
        changed[reads] = changed.get(reads, weights[reads]) * factor.reshape(shape)
        start = 0
        for maker in link.makers:
            channels = weights[maker.input[1]].shape[0]
            part = factor[start : start + channels]
            start += channels
            for key in maker.input[1:]:
                before = changed.get(key, weights[key])
                changed[key] = before / part.reshape(-1, *[1] * (before.ndim - 1))
    for constant in model.graph.initializer:
        if constant.name in changed:
            value = changed[constant.name].astype(np.float32)
            constant.CopyFrom(numpy_helper.from_array(value, constant.name))


def _weights(model: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    return {constant.name: numpy_helper.to_array(constant) for constant in model.graph.initializer}


def _links(model: onnx.ModelProto, weights: Mapping[str, NDArray[np.float32]]) -> list[_Link]:
    """The convolutions whose whole input is made by convolutions that nothing else reads."""
    made_by = {output: node for node in model.graph.node for output in node.output}
    outputs = {entry.name for entry in model.graph.output}
    readers: dict[str, int] = dict.fromkeys(outputs, 1)
    shared: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
            shared[name] = shared.get(name, 0) + 1

    def makers(name: str) -> list[onnx.NodeProto] | None:
        node = made_by.get(name)
        if node is None or readers[name] != 1:
            return None
        if node.op_type == "Conv":
            own = all(key in weights and shared[key] == 1 for key in node.input[1:])
            return [node] if own else None
        if node.op_type not in _TRANSPARENT:
            return None
        parts = [
            makers(part) for part in (node.input if node.op_type == "Concat" else node.input[:1])
        ]
        return None if None in parts else [one for part in parts if part for one in part]

    found = []
    for node in model.graph.node:
        plain = node.op_type in ("Conv", "ConvTranspose")
        if not plain or node.input[1] not in weights or shared[node.input[1]] != 1:
            continue
        link = _Link(node, makers(node.input[0]) or [])
        channels = weights[node.input[1]].shape[link.axis]  # of a grouped one fewer than are made
        if sum(len(weights[one.input[1]]) for one in link.makers) == channels:
            found.append(link)
    return found


def _channel_maxima(
    model: onnx.ModelProto, tensors: Iterable[str], batches: Iterable[NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    """Largest magnitude of each channel of some tensors [N, C, H, W]."""
    names = sorted(set(tensors))
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    axes = numpy_helper.from_array(np.array([0, 2, 3], np.int64), "smoothing.axes")
    watched.graph.initializer.append(axes)
    del watched.graph.output[:]
    for number, name in enumerate(names):
        top = f"smoothing.{number}"
        watched.graph.node.append(onnx.helper.make_node("Abs", [name], [f"{top}.abs"]))
        watched.graph.node.append(
            onnx.helper.make_node("ReduceMax", [f"{top}.abs", axes.name], [top], keepdims=0)
        )
        entry = onnx.helper.make_tensor_value_info(top, onnx.TensorProto.FLOAT, [None])
        watched.graph.output.append(entry)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(
        watched.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    image = session.get_inputs()[0].name
    found = [session.run(None, {image: batch}) for batch in batches]
    maxima = [np.max(values, axis=0) for values in zip(*found, strict=True)]
    return dict(zip(names, maxima, strict=True))
