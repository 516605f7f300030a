"""QuantizeLinear and DequantizeLinear around a network's layers: INT8 as engines read it."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from ocdnet.errors import DataError
from ocdnet.files import replacing
from ocdnet.hardware import int8_overflows
from ocdnet.quantization.graphs import OPERATORS, layers_of, left_out, prepared, quantizing
from ocdnet.quantization.ranges import Ranges
from ocdnet.quantization.smoothing import smooth

Activations = Literal["int8", "uint8"]


@dataclass(frozen=True)
class QdqReport:
    """Which layers with weights are in int8 now; both lists in the order of the graph.

    Attributes:
        quantized: layers computed in int8, by the name of their module where the file has it.
        left: layers that stay in float.
    """

    quantized: list[str]
    left: list[str]


def insert_qdq(
    source: Path,
    target: Path,
    ranges: Ranges,
    *,
    activations: Activations = "int8",
    skip: Sequence[str] = (),
    only: Sequence[str] | None = None,
) -> QdqReport:
    """Write a network with int8 weights (per channel, symmetric) and int8 activations.

    Deformable convolutions, the convolutions of their offsets and the head's transposed
    convolutions stay in float. The source's metadata are carried over.

    Args:
        source: ONNX file.
        target: file to write.
        ranges: of `calibrate`, for this source.
        activations: `int8`, symmetric, with float biases: what TensorRT takes; `uint8`, with
            integer biases: faster in ONNX Runtime on a CPU, and what OpenVINO computes rightly;
            weights then have 7 bits where 8 overflow on this CPU (`hardware.int8_overflows`).
        skip: as of `graphs.left_out`.
        only: likewise.

    Raises:
        DataError: the ranges are another network's, or the file is no usable ONNX.
    """
    with tempfile.TemporaryDirectory() as folder, quantizing(source):
        graph = prepared(source, Path(folder))
        model = onnx.load(graph.path)
        layers, excluded = layers_of(model), left_out(model, skip, only)
        _smoothed(ranges, model, source)
        signed = activations == "int8"
        values = _joined(model, ranges.values, excluded)
        quantizer = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=not signed and int8_overflows(),
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8 if signed else QuantType.QUInt8,
            tensors_range=_data(values),
            nodes_to_quantize=[],
            nodes_to_exclude=sorted(excluded),
            op_types_to_quantize=list(OPERATORS),
            extra_options={
                "ActivationSymmetric": signed,
                "WeightSymmetric": True,
                "QuantizeBias": not signed,
                # A layer of its own for each reader, as TensorRT fuses them.
                "DedicatedQDQPair": signed,
            },
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()  # as ONNX demands, and other readers than ONNX Runtime
    return finish(quantizer.model.model, source, target, layers)


def finish(
    model: onnx.ModelProto, source: Path, target: Path, layers: Mapping[str, str]
) -> QdqReport:
    """Write a quantized graph with its source's metadata.

    Args:
        model: the graph; changed in place.
        source: ONNX file that it was made of.
        target: file to write.
        layers: of `layers_of` the graph before.
    """
    del model.metadata_props[:]
    model.metadata_props.extend(onnx.load(source, load_external_data=False).metadata_props)
    with replacing(target) as temporary:
        onnx.save(model, temporary)
    quantized = _quantized(model)
    return QdqReport(
        quantized=[name for node, name in layers.items() if node in quantized],
        left=[name for node, name in layers.items() if node not in quantized],
    )


def _joined(
    model: onnx.ModelProto, values: Mapping[str, tuple[float, float]], excluded: set[str]
) -> dict[str, tuple[float, float]]:
    """Ranges in which all inputs of a concatenation have the range of its output.

    Its readers know a single scale anyway: so its inputs are rounded by it at once, not by a scale
    of their own before.
    """
    joined = dict(values)
    made_by = {output: node for node in model.graph.node for output in node.output}
    uses = Counter(name for node in model.graph.node for name in node.input)
    uses.update(entry.name for entry in model.graph.output)
    for node in reversed(model.graph.node):  # of nested concatenations the outer one first
        if node.op_type != "Concat" or node.name in excluded or node.output[0] not in joined:
            continue
        waiting = list(node.input)
        while waiting:
            name = waiting.pop()
            if name not in joined or uses[name] > 1:  # another reader would lose precision
                continue
            joined[name] = joined[node.output[0]]
            if name in made_by and made_by[name].op_type in ("Resize", "MaxPool"):
                waiting.append(made_by[name].input[0])
    return joined


def _data(values: Mapping[str, tuple[float, float]]) -> Any:
    data = {
        name: (np.array(low, np.float32), np.array(high, np.float32))
        for name, (low, high) in values.items()
    }
    return TensorsData(CalibrationMethod.MinMax, data)


def _smoothed(ranges: Ranges, model: onnx.ModelProto, source: Path) -> None:
    """Smooth the graph; raises DataError where the ranges are not its own."""
    tensors = {output for node in model.graph.node for output in node.output}
    tensors |= {entry.name for entry in model.graph.input}
    strange = [name for name in ranges.values if name not in tensors]
    try:
        smooth(model, ranges.factors)
    except ValueError as error:
        strange.append(str(error))
    if strange:
        raise DataError(
            "calibration-mismatch",
            f"The calibration ranges are not of {source}",
            got=strange[:3],
            expected="names of its tensors",
            hint="Calibrate again: remove the calibration cache.",
        )


def _quantized(model: onnx.ModelProto) -> set[str]:
    """Nodes whose weights are integers: stored so, or through a QuantizeLinear of a constant."""
    constants = {constant.name for constant in model.graph.initializer}
    constants |= _outputs(model, "QuantizeLinear", constants)
    scaled = _outputs(model, "DequantizeLinear", constants)
    return {node.name for node in model.graph.node if scaled.intersection(node.input[1:2])}


def _outputs(model: onnx.ModelProto, operator: str, inputs: set[str]) -> set[str]:
    nodes = (node for node in model.graph.node if node.op_type == operator)
    return {node.output[0] for node in nodes if node.input[0] in inputs}
