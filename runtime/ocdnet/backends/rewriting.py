"""ONNX graphs in the form that CPUs compute faster: the same values, by other operators.

Measured on a ResNet-18 detector of 1280x736 (OpenVINO 2026.4, two threads): `upsample_last` takes
4 % from FP32 and 9 % from INT8, `quantize_once` another 13 % from INT8. ONNX Runtime 1.32 gains 2
to 4 % by the first and loses by the second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

_SUBGRAPH = onnx.AttributeProto.GRAPH
Weights = dict[str, NDArray[Any]]
Grid = tuple[tuple[str, float], ...]

_POINTWISE = ("Relu", "Sigmoid")
_JOINED = ("HardSwish", "Relu", "Add")
"""What OpenVINO computes within the convolution before it."""
_CHOOSING = ("Resize", "MaxPool")
"""Each value of their outputs is one of their inputs'; of Resize where it takes the nearest."""


def upsample_last(model: onnx.ModelProto) -> None:
    """Transposed convolutions whose kernels do not overlap as 1x1 convolutions and DepthToSpace.

    The S x S pixels that such a layer makes of one pixel are first computed as its channels (c,
    row, column), and stay so through the activations and layers of the same kind that follow; one
    DepthToSpace then puts them in their places. So DBNet's head is computed at a quarter of the
    image's size. The results differ by rounding.

    Args:
        model: ONNX in any precision, with its weights; changed in place.
    """
    if _branches(model):
        return
    weights = _constants(model)
    sides: dict[str, int] = {}  # S of each tensor whose pixels are held as channels
    nodes: list[onnx.NodeProto] = []

    def spread(name: str) -> None:
        if side := sides.pop(name, 0):
            nodes.append(
                helper.make_node(
                    "DepthToSpace", [_held(name)], [name], _held(name), blocksize=side, mode="CRD"
                )
            )

    for node in model.graph.node:
        step = _step(node, weights)
        if step:
            channels, made = weights[node.input[1]].shape[:2]
            # Of the 1x1 kernel's S * S rows and columns of blocks only the diagonal is not zero,
            # but all is computed: for a layer of many outputs it costs less to spread first.
            if made * sides.get(node.input[0], 1) ** 2 > channels:
                spread(node.input[0])
            source, side = node.input[0], sides.get(node.input[0], 1)
            out = _held(node.output[0])
            inputs = [source if source not in sides else _held(source)]
            for value in _as_1x1([weights[name] for name in node.input[1:]], side):
                inputs.append(f"{out}.{len(inputs)}")
                model.graph.initializer.append(numpy_helper.from_array(value, inputs[-1]))
            nodes.append(helper.make_node("Conv", inputs, [out], node.name))
            sides[node.output[0]] = side * step
        elif node.op_type in _POINTWISE and node.input[0] in sides:
            nodes.append(
                helper.make_node(
                    node.op_type, [_held(node.input[0])], [_held(node.output[0])], node.name
                )
            )
            sides[node.output[0]] = sides[node.input[0]]
        else:
            for name in node.input:
                spread(name)
            nodes.append(node)
    for entry in model.graph.output:
        spread(entry.name)
    _replace(model, nodes)


def _branches(model: onnx.ModelProto) -> bool:
    """Whether there are branches or loops: they read tensors that their node does not name."""
    return any(entry.type == _SUBGRAPH for node in model.graph.node for entry in node.attribute)


def _held(name: str) -> str:
    return f"{name}.held"


def _step(node: onnx.NodeProto, weights: Weights) -> int:
    """Stride of a transposed convolution whose kernels do not overlap; of any other node 0."""
    if node.op_type != "ConvTranspose" or any(name not in weights for name in node.input[1:]):
        return 0
    if weights[node.input[1]].ndim != 4:
        return 0
    given = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    high, wide = weights[node.input[1]].shape[2:]
    plain = (
        given.get("group", 1) == 1
        and given.get("auto_pad", b"NOTSET") == b"NOTSET"
        and "output_shape" not in given
        and not any([*given.get("pads", ()), *given.get("output_padding", ())])
        and {1, *given.get("dilations", ())} == {1}
    )
    return high if plain and given.get("strides") == [high, wide] == [high, high] else 0


def _as_1x1(values: Sequence[NDArray[Any]], side: int) -> list[NDArray[Any]]:
    """Weight and bias of a 1x1 convolution for those of a transposed one.

    Args:
        values: weight [C, P, step, step]; where there is one, bias [P].
        side: S of the input.
    """
    kernel, *bias = values
    channels, made, step = kernel.shape[:3]
    # Axes: P, row of the input's square and row within its pixel, the same of columns; then C, row
    # and column of the pixel that is read. The weights of the square's other pixels stay zero.
    matrix = np.zeros((made, side, step, side, step, channels, side, side), kernel.dtype)
    for row in range(side):
        for column in range(side):
            matrix[:, row, :, column, :, :, row, column] = kernel.transpose(1, 2, 3, 0)
    pixels = (side * step) ** 2
    weight = matrix.reshape(made * pixels, channels * side**2, 1, 1)
    return [weight, *(np.repeat(value, pixels) for value in bias)]


def quantize_once(model: onnx.ModelProto) -> None:
    """Drop each QuantizeLinear and DequantizeLinear whose values already lie on its grid.

    Not for ONNX Runtime, which computes a Resize or Concat in integers only between such nodes.

    Args:
        model: ONNX with its weights; changed in place.
    """
    if _branches(model):
        return
    weights = _constants(model)
    ends = {entry.name for entry in model.graph.output}
    grids: dict[str, Grid] = {}  # of the tensors whose values are known to lie on one
    same: dict[str, str] = {}  # outcome of a dropped pair -> the tensor that it equals
    quantized: dict[str, onnx.NodeProto] = {}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = same.get(name, name)
        out = node.output[0]
        if node.op_type == "QuantizeLinear":
            quantized[out] = node
        elif node.op_type == "DequantizeLinear" and node.input[0] in quantized:
            before = quantized[node.input[0]]
            grid = _grid(node, weights)
            if grid and grid == _grid(before, weights):
                if grids.get(before.input[0]) == grid and out not in ends:
                    same[out] = before.input[0]
                    continue
                grids[out] = grid
        elif node.op_type in _CHOOSING or node.op_type == "Concat":
            nearest = node.op_type != "Resize" or _mode(node) == b"nearest"
            sources = node.input if node.op_type == "Concat" else node.input[:1]
            source_grids = {grids.get(name) for name in sources}
            if nearest and len(source_grids) == 1 and (grid := source_grids.pop()):
                grids[out] = grid
        nodes.append(node)
    # A QuantizeLinear whose only readers were dropped is left without any.
    read = {name for node in nodes for name in node.input}
    nodes = [n for n in nodes if n.op_type != "QuantizeLinear" or n.output[0] in read | ends]
    _replace(model, nodes)


def quantize_behind(model: onnx.ModelProto) -> None:
    """Drop the rounding between a convolution and the activation or sum that alone reads it.

    OpenVINO computes them within the convolution, and rounds once behind them. Not for ONNX
    Runtime, which computes a convolution in integers only where a QuantizeLinear follows.

    Args:
        model: ONNX with its weights; changed in place.
    """
    if _branches(model):
        return
    made_by = {name: node for node in model.graph.node for name in node.output}
    uses = Counter(name for node in model.graph.node for name in node.input)
    uses.update(entry.name for entry in model.graph.output)
    dropped = set()
    for node in model.graph.node:
        for place, name in enumerate(node.input if node.op_type in _JOINED else ()):
            pair = _made_by_one(name, ("DequantizeLinear", "QuantizeLinear", "Conv"), made_by)
            if pair and all(uses[step.output[0]] == 1 for step in pair):
                node.input[place] = pair[1].input[0]
                dropped |= {step.output[0] for step in pair[:2]}
                break  # a sum joins one of two convolutions, the other keeps its scale
    _replace(model, [node for node in model.graph.node if node.output[0] not in dropped])


def _made_by_one(
    name: str, kinds: Sequence[str], made_by: Mapping[str, onnx.NodeProto]
) -> list[onnx.NodeProto]:
    """The nodes of these kinds, the last first, that make a tensor one after the other."""
    chain: list[onnx.NodeProto] = []
    for kind in kinds:
        node = made_by.get(name)
        if node is None or node.op_type != kind:
            return []
        chain.append(node)
        name = node.input[0]
    return chain


def _grid(node: onnx.NodeProto, weights: Weights) -> Grid | None:
    """Scale and zero point of a whole tensor; None where they are computed, or a channel's."""
    given = [weights.get(name) for name in node.input[1:]]
    if any(value is None or value.size != 1 for value in given):
        return None
    return tuple((str(value.dtype), value.item()) for value in given if value is not None)


def _mode(node: onnx.NodeProto) -> bytes:
    modes = [entry.s for entry in node.attribute if entry.name == "mode"]
    return modes[0] if modes else b"nearest"  # ONNX's default


def _constants(model: onnx.ModelProto) -> Weights:
    return {value.name: numpy_helper.to_array(value) for value in model.graph.initializer}


def _replace(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    del model.graph.node[:]
    model.graph.node.extend(nodes)
