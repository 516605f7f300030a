"""Channels brought to similar ranges, before a whole tensor gets one int8 scale.

The levels of DBNet's pyramid differ by a factor of ten and more, and their channels by as much
again: one scale for all leaves most channels a few steps. So a channel is divided by a factor where
convolutions make it and multiplied by it where others read it, which changes nothing in float
(SmoothQuant, arXiv 2211.10438). The operators between must commute with a positive factor, and the
two sides of a sum must have the same one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import numpy_helper

from ocdnet.hardware import cpus
from ocdnet.quantization.graphs import opset_of

_AXES_AS_INPUT = 18
"""The first opset whose ReduceMax takes its axes as an input."""

Array = NDArray[np.float32]
Factors = Mapping[str, Sequence[float]]
"""By the name of the convolution that makes them: a factor for each of its output channels."""

_KERNELS = {"Conv": 1, "DeformConv": 1, "ConvTranspose": 0}
"""Convolutions, and the axis of the input channels in their weights."""
_SHARE = 0.75
"""SmoothQuant's alpha: how much of a channel's range moves into the weights. Of 0.3, 0.5, 0.7 and
0.85 the last two left the least noise on a trained detector: 0.6 of what no smoothing left."""
_SILENT = 1e-6
"""Largest magnitude of a channel that says nothing on the calibration images, and may on others: it
has no factor, which would blow up what it then says, and with it the tensor's range."""
_TRANSPARENT = ("Relu", "Resize", "MaxPool", "Identity")


@dataclass
class _Channels:
    """Which channels of a graph's tensors must share a factor.

    Attributes:
        of: class of each channel of a tensor, by its name; see `root`.
        makers: convolutions by name, with the classes of their output channels.
        readers: convolutions by name, with the classes of their input channels.
    """

    of: dict[str, list[int]] = field(default_factory=dict)
    makers: dict[str, tuple[onnx.NodeProto, list[int]]] = field(default_factory=dict)
    readers: dict[str, tuple[onnx.NodeProto, list[int]]] = field(default_factory=dict)
    _parents: list[int] = field(default_factory=list)
    _held: set[int] = field(default_factory=set)

    def new(self, number: int) -> list[int]:
        """Add this number of channels, each a class of its own."""
        start = len(self._parents)
        self._parents += range(start, start + number)
        return list(range(start, start + number))

    def root(self, channel: int) -> int:
        """The representative of a channel's class (union-find, with path halving)."""
        while self._parents[channel] != channel:
            self._parents[channel] = channel = self._parents[self._parents[channel]]
        return channel

    def join(self, first: Sequence[int], second: Sequence[int]) -> None:
        """Give channels of two tensors, pair by pair, the same factor."""
        for one, other in zip(first, second, strict=True):
            self._parents[self.root(one)] = self.root(other)

    def hold(self, names: Iterable[str]) -> None:
        """Leave the channels of some tensors without a factor."""
        self._held.update(channel for name in names for channel in self.of.get(name, ()))

    def free(self) -> set[int]:
        """The classes that may have a factor."""
        every = {self.root(channel) for channel in range(len(self._parents))}
        return every - {self.root(channel) for channel in self._held}


def _channels(model: onnx.ModelProto, weights: Mapping[str, Array]) -> _Channels:
    channels = _Channels()
    uses: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    for node in model.graph.node:
        own = all(uses[name] == 1 for name in node.input if name in weights)
        if node.op_type in _KERNELS and own and node.input[1] in weights:
            _pass_kernel(channels, node, weights)
        elif node.op_type in _TRANSPARENT and node.input[0] in channels.of:
            channels.of[node.output[0]] = channels.of[node.input[0]]
        elif node.op_type == "Add" and _alike(channels, node.input):
            first, second = (channels.of[name] for name in node.input)
            channels.join(first, second)
            channels.of[node.output[0]] = first
        elif node.op_type == "Concat" and all(name in channels.of for name in node.input):
            channels.of[node.output[0]] = [c for name in node.input for c in channels.of[name]]
        else:
            channels.hold(node.input)
    channels.hold(entry.name for entry in model.graph.output)
    return channels


def _pass_kernel(channels: _Channels, node: onnx.NodeProto, weights: Mapping[str, Array]) -> None:
    weight, axis = weights[node.input[1]], _KERNELS[node.op_type]
    channels.hold(node.input[2:])  # a deformable one's offsets and modulation
    given = channels.of.get(node.input[0])
    if given is not None and len(given) == weight.shape[axis]:
        channels.readers[node.name] = node, given
    else:  # grouped
        channels.hold(node.input[:1])
    if axis:
        made = channels.new(len(weight))
        channels.makers[node.name] = node, made
        channels.of[node.output[0]] = made


def _alike(channels: _Channels, names: Sequence[str]) -> bool:
    lengths = {len(channels.of[name]) if name in channels.of else -1 for name in names}
    return len(lengths) == 1 and -1 not in lengths


def smoothing_factors(model: onnx.ModelProto, batches: Iterable[Array]) -> Factors:
    """The factors for a graph, from the largest magnitudes of its channels.

    Args:
        model: as `graphs.prepared` made it.
        batches: float32[B, 3, H, W] each, at least one.
    """
    weights = _weights(model)
    channels = _channels(model, weights)
    if not channels.readers:
        return {name: [1.0] * len(own) for name, (_, own) in channels.makers.items()}
    maxima = _maxima(model, {node.input[0] for node, _ in channels.readers.values()}, batches)
    made: dict[int, float] = {}
    read: dict[int, float] = {}
    for node, given in channels.readers.values():
        weight = np.abs(weights[node.input[1]])
        large = weight.max(axis=(1 - _KERNELS[node.op_type], 2, 3)).tolist()
        for channel, top, kernel in zip(given, maxima[node.input[0]].tolist(), large, strict=True):
            root = channels.root(channel)
            made[root] = max(made.get(root, 0.0), top)
            if node.op_type == "Conv":
                read[root] = max(read.get(root, 0.0), kernel)
    factor = {}
    for root in channels.free() & made.keys():
        if made[root] < _SILENT:
            continue
        # SmoothQuant's formula: max|X| ** alpha / max|W| ** (1 - alpha). Where all that read the
        # channel stay in float (no Conv), their weights can take over all of its range.
        kernel = read.get(root)
        shared = made[root] ** _SHARE * kernel ** (_SHARE - 1) if kernel else made[root]
        factor[root] = shared
    return {
        name: [factor.get(channels.root(channel), 1.0) for channel in own]
        for name, (_, own) in channels.makers.items()
    }


def smooth(model: onnx.ModelProto, factors: Factors) -> None:
    """Apply the factors to the weights of a graph; changed in place.

    Raises:
        ValueError: the factors are another graph's.
    """
    weights = _weights(model)
    channels = _channels(model, weights)
    factor = _by_class(channels, factors)
    changed: dict[str, Array] = {}

    def scale(key: str, axis: int, values: NDArray[np.floating]) -> None:
        before = changed.get(key, weights[key])
        shape = [1] * before.ndim
        shape[axis] = -1
        changed[key] = before * values.reshape(shape)

    def of(own: Sequence[int]) -> Array:
        return np.array([factor[channels.root(channel)] for channel in own], np.float32)

    for node, own in channels.makers.values():
        bias = node.input[3 if node.op_type == "DeformConv" else 2 :][:1]
        for key in (node.input[1], *(name for name in bias if name in weights)):
            scale(key, 0, 1 / of(own))
    for node, own in channels.readers.values():
        scale(node.input[1], _KERNELS[node.op_type], of(own))
    for constant in model.graph.initializer:
        if constant.name in changed:
            value = changed[constant.name].astype(np.float32)
            constant.CopyFrom(numpy_helper.from_array(value, constant.name))


def _by_class(channels: _Channels, factors: Factors) -> dict[int, float]:
    """The factor of each class; raises ValueError where they are not this graph's."""
    if factors.keys() != channels.makers.keys():
        raise ValueError("they are for other convolutions")
    free = channels.free()
    factor: dict[int, float] = {}
    for name, values in factors.items():
        own = channels.makers[name][1]
        if len(values) != len(own):
            raise ValueError(f"{name} makes {len(own)} channels")
        for channel, value in zip(own, values, strict=True):
            root = channels.root(channel)
            if factor.setdefault(root, value) != value or (root not in free and value != 1):
                raise ValueError(f"a channel of {name} has no such factor")
    return factor


def _weights(model: onnx.ModelProto) -> dict[str, Array]:
    return {
        constant.name: numpy_helper.to_array(constant)
        for constant in model.graph.initializer
        if constant.data_type == onnx.TensorProto.FLOAT
    }


def _maxima(
    model: onnx.ModelProto, tensors: Iterable[str], batches: Iterable[Array]
) -> dict[str, Array]:
    """Largest magnitude of each channel of some tensors [N, C, H, W]."""
    names = sorted(tensors)
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    axes = numpy_helper.from_array(np.array([0, 2, 3], np.int64), "smoothing.axes")
    given: dict[str, Any] = {}
    if opset_of(model) < _AXES_AS_INPUT:
        given = {"axes": [0, 2, 3]}
    else:
        watched.graph.initializer.append(axes)
    del watched.graph.output[:]
    for number, name in enumerate(names):
        top = f"smoothing.{number}"
        watched.graph.node.append(onnx.helper.make_node("Abs", [name], [f"{top}.abs"]))
        watched.graph.node.append(
            onnx.helper.make_node(
                "ReduceMax",
                [f"{top}.abs", *([] if given else [axes.name])],
                [top],
                keepdims=0,
                **given,
            )
        )
        entry = onnx.helper.make_tensor_value_info(top, onnx.TensorProto.FLOAT, [None])
        watched.graph.output.append(entry)
    options = ort.SessionOptions()
    options.intra_op_num_threads = cpus()
    options.log_severity_level = 3
    session = ort.InferenceSession(
        watched.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    image = session.get_inputs()[0].name
    of_batches = [session.run(None, {image: batch}) for batch in batches]
    maxima = [np.max(values, axis=0) for values in zip(*of_batches, strict=True)]
    return dict(zip(names, maxima, strict=True))
