"""An ONNX detector that needs no training: light pixels are text."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
from onnx import TensorProto, helper


def write_detector(path: Path) -> Path:
    """Write a network that takes any size and batch, and the JSON file beside it."""
    shape = ["batch", 3, "height", "width"]
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["grey"], axes=[1], keepdims=1),
        helper.make_node("Clip", ["grey", "low", "high"], ["pred"]),
    ]
    graph = helper.make_graph(
        nodes,
        "light",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("pred", TensorProto.FLOAT, ["batch", 1, *shape[2:]])],
        [
            helper.make_tensor("low", TensorProto.FLOAT, [], [0.0]),
            helper.make_tensor("high", TensorProto.FLOAT, [], [1.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    feeding = {"img_mode": "BGR", "mean": [0, 0, 0], "std": [1, 1, 1]}
    path.with_name(f"{path.name}.json").write_text(json.dumps(feeding))
    return path
