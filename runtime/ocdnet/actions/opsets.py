"""Exported graphs in older operator sets, for runtimes that know no newer ones."""

from __future__ import annotations

import logging

import onnx
import onnx.version_converter
from onnx import helper

LOG = logging.getLogger("ocdnet")
_REFUSED = (
    RuntimeError,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    onnx.version_converter.ConvertError,
)
_TYPES_ONLY = 14
"""An operator set whose Relu, Add and the like differ from the ones before in their types alone;
ONNX's converter has no step down from it for some of them."""
_AXES_AS_INPUT = 18
"""The operator set whose reductions got an attribute that the converter leaves behind."""


def lowered(model: onnx.ModelProto, wanted: int) -> onnx.ModelProto:
    """A graph in the first operator set from `wanted` on that has its operators.

    Args:
        model: a graph that computes in float32; left as it is.
        wanted: operator set.
    """
    for opset in range(wanted, opset_of(model)):
        try:
            converted = _converted(model, opset)
            onnx.checker.check_model(converted, full_check=True)
        except _REFUSED as error:
            LOG.debug("Not in opset %d: %s", opset, error)
            continue
        return converted
    return model


def opset_of(model: onnx.ModelProto) -> int:
    """Version of ONNX's own operators in a graph."""
    return next(int(entry.version) for entry in model.opset_import if not entry.domain)


def _converted(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if opset < _TYPES_ONLY:
        _decompose_hard_swish(copy.graph)
    copy = onnx.version_converter.convert_version(copy, max(opset, _TYPES_ONLY))
    if opset < _AXES_AS_INPUT:
        for node in copy.graph.node:
            kept = [entry for entry in node.attribute if entry.name != "noop_with_empty_axes"]
            del node.attribute[:]
            node.attribute.extend(kept)
    if opset < _TYPES_ONLY:
        for entry in copy.opset_import:
            entry.version = _TYPES_ONLY - 1
    if opset < _TYPES_ONLY - 1:
        copy = onnx.version_converter.convert_version(copy, opset)
    return copy


def _decompose_hard_swish(graph: onnx.GraphProto) -> None:
    """X * hard_sigmoid(x), which older operator sets have, too."""
    nodes = []
    for node in graph.node:
        if node.op_type != "HardSwish":
            nodes.append(node)
            continue
        gate = f"{node.output[0]}.gate"
        nodes.append(
            helper.make_node("HardSigmoid", [node.input[0]], [gate], gate, alpha=1 / 6, beta=0.5)
        )
        nodes.append(helper.make_node("Mul", [node.input[0], gate], node.output, node.name))
    del graph.node[:]
    graph.node.extend(nodes)
