"""ONNX graphs before quantization: how they are prepared, and which nodes stay in float."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import onnx
import onnx.version_converter
from onnxruntime.quantization.shape_inference import quant_pre_process

from ocdnet.errors import DataError, UserError, out_of_memory
from ocdnet.onnx_file import load_whole

OPERATORS = ("Conv", "MatMul", "Gemm", "Add", "Mul", "Relu", "MaxPool", "Concat", "Resize")
"""Operators computed in int8. Transposed convolutions, the head's last layers, are not: they feed
the sigmoid, and in int8 they double the maps' error."""
WEIGHTED = ("Conv", "ConvTranspose", "DeformConv", "MatMul", "Gemm")
"""Operators with weights."""
LEAST_OPSET = 13
"""The first opset that has a scale for each channel of a weight."""
_HARD_SWISH_OPSET = 14
"""The first opset that has HardSwish."""
_ONNX = ("", "ai.onnx")
_CLASSES = {
    "Conv": "Conv2d",
    "ConvTranspose": "ConvTranspose2d",
    "DeformConv": "ModulatedDeformConv2d",
    "MatMul": "Linear",
    "Gemm": "Linear",
}


@dataclass(frozen=True)
class Graph:
    """A graph in the form that is calibrated and quantized.

    Attributes:
        path: the file.
        input: name of its input.
    """

    path: Path
    input: str


def prepared(source: Path, folder: Path) -> Graph:
    """A copy with constants folded, batch norms fused and shapes known.

    It holds its weights itself and is of LEAST_OPSET or higher. The same file gives the same names
    of tensors each time: ranges are found for these names.

    Raises:
        DataError: the file is no usable ONNX, takes several inputs, or has nothing to quantize.
    """
    target = folder / "prepared.onnx"
    level = logging.getLogger().level
    whole = folder / "whole.onnx"
    onnx.save(_converted(load_whole(source), source), whole)
    try:
        with quantizing(source):
            # Its own shape inference knows no DeformConv; ONNX's suffices.
            quant_pre_process(str(whole), str(target), skip_symbolic_shape=True)
            model = onnx.load(target)
    finally:
        logging.getLogger().setLevel(level)
    if opset_of(model) >= _HARD_SWISH_OPSET:
        _whole_hard_swishes(model)
        onnx.save(model, target)
    constants = {constant.name for constant in model.graph.initializer}
    inputs = [entry.name for entry in model.graph.input if entry.name not in constants]
    if len(inputs) != 1:
        raise DataError(
            "bad-onnx",
            f"{source} takes {len(inputs)} inputs",
            got=inputs,
            expected="one, the image",
        )
    if not any(node.op_type in OPERATORS and node.op_type in WEIGHTED for node in model.graph.node):
        raise nothing_to_quantize(source)
    return Graph(target, inputs[0])


def _whole_hard_swishes(model: onnx.ModelProto) -> None:
    """Put one HardSwish in the place of x * HardSigmoid(x), as which ONNX Runtime writes it.

    OpenVINO computes the one within the convolution before it; of the others, each rounded to int8,
    it makes passes over memory that took more time than all convolutions of a MobileNetV3.
    """
    uses = Counter(name for node in model.graph.node for name in node.input)
    sigmoids = {
        node.output[0]: node
        for node in model.graph.node
        if node.op_type == "HardSigmoid" and uses[node.output[0]] == 1 and _is_of_swish(node)
    }
    for node in list(model.graph.node):
        gates = [sigmoids[name] for name in node.input if name in sigmoids]
        if node.op_type != "Mul" or not gates:
            continue
        gate = gates[0]
        if sorted(node.input) == sorted([gate.input[0], gate.output[0]]):
            node.op_type, node.input[:] = "HardSwish", [gate.input[0]]
            model.graph.node.remove(gate)


def _is_of_swish(node: onnx.NodeProto) -> bool:
    given = {entry.name: entry.f for entry in node.attribute}
    slope, offset = given.get("alpha", 0.2), given.get("beta", 0.5)
    return abs(slope - 1 / 6) < 1e-6 and offset == 0.5


def opset_of(model: onnx.ModelProto) -> int:
    """Version of ONNX's own operators in a model."""
    return max((entry.version for entry in model.opset_import if entry.domain in _ONNX), default=1)


def _converted(model: onnx.ModelProto, source: Path) -> onnx.ModelProto:
    before = opset_of(model)
    if before >= LEAST_OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, LEAST_OPSET)
    except Exception as error:
        raise DataError(
            "old-opset",
            f"{source} is of opset {before}, and cannot be converted for quantization",
            got=(str(error).strip() or type(error).__name__).splitlines()[-1][:200],
            expected=f"an ONNX file of opset {LEAST_OPSET} or higher",
            hint=f"Export it again with opset {LEAST_OPSET} or higher, or build an engine of "
            "gen_trt_engine.tensorrt.data_type=FP32 or FP16.",
        ) from error


def nothing_to_quantize(source: Path) -> DataError:
    """The error for a network none of whose layers can be int8."""
    return DataError(
        "nothing-to-quantize",
        f"{source} has no layer that can be computed in int8",
        expected=f"at least one of {', '.join(kind for kind in WEIGHTED if kind in OPERATORS)}",
        hint="Leave it as it is: gen_trt_engine.tensorrt.data_type=FP32 or FP16.",
    )


@contextmanager
def quantizing(source: Path) -> Iterator[None]:
    """What ONNX Runtime's quantizer raises within is a DataError of the file."""
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or out_of_memory(error):
            raise
        raise _unusable(source, error) from error


def _unusable(source: Path, error: Exception) -> DataError:
    return DataError(
        "bad-onnx",
        f"ONNX Runtime cannot quantize {source}",
        got=(str(error).strip() or type(error).__name__).splitlines()[0][:200],
        expected="an ONNX file as `ocdnet export` writes it",
        hint="Leave it in float: gen_trt_engine.tensorrt.data_type=FP32 or FP16.",
    )


def offset_convolutions(model: onnx.ModelProto) -> set[str]:
    """Names of the convolutions that compute deformable convolutions' offsets and modulation.

    A step of int8 would move a sampling point by a good part of a pixel.
    """
    made_by = {output: node for node in model.graph.node for output in node.output}
    waiting = [
        name
        for node in model.graph.node
        if node.op_type == "DeformConv"
        for place, name in enumerate(node.input)
        if place in (2, 4) and name
    ]
    convolutions: set[str] = set()
    seen: set[str] = set()
    # From each offset and modulation back through what lies between (split, sigmoid, batch norm).
    while waiting:
        name = waiting.pop()
        node = made_by.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type == "Conv":
            convolutions.add(node.name)
        else:
            waiting += node.input
    return convolutions


def layers_of(model: onnx.ModelProto) -> dict[str, str]:
    """Nodes with weights, in the order of the graph, and their names for people."""
    return {node.name: shown(node) for node in model.graph.node if node.op_type in WEIGHTED}


def left_out(model: onnx.ModelProto, skip: Sequence[str], only: Sequence[str] | None) -> set[str]:
    """Names of the nodes that are to stay in float.

    Args:
        model: as `prepared` made it.
        skip: names of layers, with wildcards; see `names_of`.
        only: where given, the names of the layers with weights to quantize.
    """
    kept = offset_convolutions(model) | named(model, skip)
    return kept if only is None else kept | (layers_of(model).keys() - named(model, only))


def names_of(node: onnx.NodeProto) -> Iterator[str]:
    """Names that a user may give a node: its own, its class in torch, the module of its weights."""
    yield node.name
    yield _CLASSES.get(node.op_type, node.op_type)
    for name in node.input:
        module, dot, kind = name.rpartition(".")
        if dot and kind in ("weight", "bias"):
            yield module


def named(model: onnx.ModelProto, patterns: Sequence[str]) -> set[str]:
    """Names of the nodes that the patterns match; see `names_of`."""
    return {
        node.name
        for node in model.graph.node
        if any(fnmatchcase(name, pattern) for name in names_of(node) for pattern in patterns)
    }


def shown(node: onnx.NodeProto) -> str:
    """A node's name for people: that of its module, where the file has it."""
    return list(names_of(node))[-1]
