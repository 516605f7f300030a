"""A trained network as one packed file (`ocdnet.packed`): what benchmarks/starter.py ends with."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import torch
from onnx import helper, numpy_helper
from onnxscript import optimizer

from ocdnet.checkpoint import SCALE
from ocdnet.data.preprocess import Preprocess
from ocdnet.files import replacing, sha256
from ocdnet.models.factory import build_model
from ocdnet.networks import own_model
from ocdnet.packed import SPEC
from ocdnet.spec_keys import STRIDE
from ocdnet.weights import load_exactly, read_checkpoint
from ocdnet.zoo.registry import Suggested

_MODEL = ("backbone", "inner_channels", "neck_block", "neck", "head")
_OPSET = 19
_MOST_PARTS = 1024
_MOST = 127


def pack(checkpoint: Path, target: Path, suggested: Suggested) -> None:
    """Write a trained network, or its average, as a packed file for pictures of any size.

    Args:
        checkpoint: of a training of ours.
        target: the file.
        suggested: size of the input and thresholds that suit it.
    """
    source = read_checkpoint(checkpoint)
    config, mode = own_model(source), source.img_mode or "BGR"
    network = build_model(config)
    load_exactly(network, source, config.backbone)
    model = _traced(network.eval())
    _to_int8(model.graph)
    _keep_rest(model.graph, network)
    spec = {
        "model": {key: getattr(config, key) for key in _MODEL},
        "dataset": {"train_dataset": {"args": {"img_mode": mode}}},
    }
    metadata = {
        **Preprocess(suggested.size, mode).to_metadata(),
        **suggested.to_metadata(),
        "ocdnet.backbone": config.backbone,
        "ocdnet.source_sha256": sha256(checkpoint),
        SPEC: json.dumps(spec),
    }
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    with replacing(target) as temporary:
        onnx.save(model, temporary)


def _traced(network: torch.nn.Module) -> onnx.ModelProto:
    """The network as ONNX, its tensors named as in the state dict, batch norms not folded."""
    sides = {
        axis: STRIDE * torch.export.Dim(f"{name}_parts", min=1, max=_MOST_PARTS)
        for axis, name in ((2, "height"), (3, "width"))
    }
    shapes: dict[int, Any] = {0: torch.export.Dim("batch"), **sides}
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (torch.zeros(2, 3, 20 * STRIDE, 40 * STRIDE),),
            input_names=["input"],
            output_names=["pred"],
            opset_version=_OPSET,
            dynamo=True,
            optimize=False,  # it would fold the batch norms
            dynamic_shapes=(shapes,),
        )
    folded = onnx_ir.serde.deserialize_model(program.model_proto)
    optimizer.fold_constants(folded, onnx_shape_inference=False)
    optimizer.remove_unused_nodes(folded)
    model = onnx_ir.serde.serialize_model(folded)
    _drop_zero_biases(model.graph)
    for value in (*model.graph.input, *model.graph.output):
        for dimension, name in zip(
            value.type.tensor_type.shape.dim[2:], ("height", "width"), strict=True
        ):
            dimension.dim_param = name
    del model.graph.value_info[:]  # it would know weights by a former type
    return model


def _drop_zero_biases(graph: onnx.GraphProto) -> None:
    """The exporter gives convolutions without a bias one of zeros."""
    constants = {one.name: one for one in graph.initializer}
    for node in graph.node:
        bias = constants.get(node.input[2]) if len(node.input) == 3 else None
        if node.op_type == "Conv" and bias is not None and not numpy_helper.to_array(bias).any():
            del node.input[2]
    used = {name for node in graph.node for name in node.input}
    for name in constants.keys() - used:
        graph.initializer.remove(constants[name])


def _keep_rest(graph: onnx.GraphProto, network: torch.nn.Module) -> None:
    """Keep what only training computes (the threshold map's branch) as constants that none uses."""
    kept = {one.name for one in graph.initializer}
    for name, value in network.state_dict().items():
        if name not in kept and not name.endswith("num_batches_tracked"):
            graph.initializer.append(numpy_helper.from_array(value.numpy(), name))


def _to_int8(graph: onnx.GraphProto) -> None:
    """Store the weights of convolutions as int8, with a scale for each output channel."""
    widenings = []
    for tensor in [one for one in graph.initializer if one.name.endswith(".weight")]:
        values = numpy_helper.to_array(tensor)
        if values.ndim < 2:
            continue
        (user,) = (node for node in graph.node if tensor.name in node.input)
        axis = 1 if user.op_type == "ConvTranspose" else 0
        others = tuple(one for one in range(values.ndim) if one != axis)
        largest = np.abs(values).max(axis=others, keepdims=True)
        scale = (np.maximum(largest, 1e-12) / _MOST).astype(np.float32)
        rounded = np.rint(values / scale).clip(-_MOST, _MOST).astype(np.int8)
        names, widened = [tensor.name, tensor.name + SCALE], f"{tensor.name}_float"
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(rounded, names[0]))
        graph.initializer.append(numpy_helper.from_array(scale.ravel(), names[1]))
        user.input[1] = widened
        widenings.append(helper.make_node("DequantizeLinear", names, [widened], axis=axis))
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*widenings, *rest])
