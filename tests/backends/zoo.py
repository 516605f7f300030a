"""Small ONNX graphs that a detector's file may turn out to be, none of which finds text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
DYNAMIC = ["n", 3, "h", "w"]


def tensor(name: str, values: Any, kind: Any = np.int64) -> Any:
    """An initializer."""
    return numpy_helper.from_array(np.array(values, kind), name)


def info(name: str, shape: Any, kind: int = FLOAT) -> Any:
    """An input or output."""
    return helper.make_tensor_value_info(name, kind, shape)


def saved(
    path: Path,
    nodes: list[Any],
    *,
    given: Any = None,
    outputs: Any = None,
    constants: Any = (),
    opset: int = 18,
    **beside: Any,
) -> Path:
    """Write a graph from `x` to `y`, and how it is fed."""
    graph = helper.make_graph(
        nodes,
        "g",
        [info("x", DYNAMIC)] if given is None else given,
        [info("y", None)] if outputs is None else outputs,
        list(constants),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    fed = {"img_mode": "BGR", "mean": [0, 0, 0], "std": [1, 1, 1], **beside}
    path.with_name(f"{path.name}.json").write_text(json.dumps(fed))
    return path


def brightness(name: str = "y", source: str = "x") -> list[Any]:
    """The mean of the channels, with the constant `axes`: a map in 0..1."""
    return [helper.make_node("ReduceMean", [source, "axes"], [name], keepdims=1)]


AXES = tensor("axes", [1])


def node(kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    """A node."""
    return helper.make_node(kind, inputs, outputs, **attributes)


def _fixed(shape: Any) -> Callable[[Path], Path]:
    return lambda path: saved(path, brightness(), given=[info("x", shape)], constants=[AXES])


def _after(
    nodes: list[Any], constants: Any = (), outputs: Any = None, **beside: Any
) -> Callable[[Path], Path]:
    """The map as `m`, then these nodes, to `y`."""
    return lambda path: saved(
        path,
        [*brightness("m"), *nodes],
        constants=[AXES, *constants],
        outputs=outputs,
        **beside,
    )


SEQUENCE = helper.make_tensor_sequence_value_info("y", FLOAT, None)
REFUSED: dict[str, Callable[[Path], Path]] = {
    "a size": _fixed(["n", 3, 96, 96]),
    "no multiple of 32": _fixed(["n", 3, 100, 100]),
    "a height": _fixed(["n", 3, 96, "w"]),
    "a height that is no multiple": _fixed(["n", 3, 50, "w"]),
    "channels last": _fixed(["n", "h", "w", 3]),
    "grey": _fixed(["n", 1, "h", "w"]),
    "strings in": lambda path: saved(
        path,
        [node("Identity", ["x"], ["y"])],
        given=[info("x", DYNAMIC, TensorProto.STRING)],
        outputs=[info("y", None, TensorProto.STRING)],
    ),
    "halves in": lambda path: saved(
        path,
        [node("Identity", ["x"], ["y"])],
        given=[info("x", DYNAMIC, TensorProto.FLOAT16)],
        outputs=[info("y", None, TensorProto.FLOAT16)],
    ),
    "a sequence in": lambda path: saved(
        path,
        [node("SequenceAt", ["x", "at"], ["y"])],
        given=[helper.make_tensor_sequence_value_info("x", FLOAT, None)],
        constants=[tensor("at", 0)],
    ),
    "two inputs": lambda path: saved(
        path, [node("Add", ["x", "z"], ["y"])], given=[info("x", DYNAMIC), info("z", DYNAMIC)]
    ),
    "no input": lambda path: saved(
        path,
        [node("Identity", ["axes"], ["y"])],
        given=[],
        constants=[AXES],
        outputs=[info("y", None, TensorProto.INT64)],
    ),
    "no output": lambda path: saved(path, brightness(), constants=[AXES], outputs=[]),
    "a sequence out": _after([node("SequenceConstruct", ["m"], ["y"])], outputs=[SEQUENCE]),
    "strings out": _after(
        [node("Cast", ["m"], ["y"], to=TensorProto.STRING)],
        outputs=[info("y", None, TensorProto.STRING)],
    ),
    "integers out": _after(
        [node("Cast", ["m"], ["y"], to=TensorProto.INT64)],
        outputs=[info("y", None, TensorProto.INT64)],
    ),
    "truths out": _after(
        [node("Cast", ["m"], ["y"], to=TensorProto.BOOL)],
        outputs=[info("y", None, TensorProto.BOOL)],
    ),
    "an impossible Reshape": _after(
        [node("Reshape", ["m", "shape"], ["y"])], [tensor("shape", [-1, 7, 11, 13])]
    ),
    "a size in a Reshape": _after(
        [node("Reshape", ["m", "shape"], ["y"])], [tensor("shape", [-1, 1, 96, 96])]
    ),
    "one map for all": _after(
        [
            node("ReduceMean", ["m", "batch"], ["y"], keepdims=1),
        ],
        [tensor("batch", [0])],
    ),
    "a map of half the size": _after(
        [node("MaxPool", ["m"], ["y"], kernel_shape=[2, 2], strides=[2, 2])]
    ),
    "channels last out": _after([node("Transpose", ["m"], ["y"], perm=[0, 2, 3, 1])]),
    "five axes out": _after([node("Unsqueeze", ["m", "two"], ["y"])], [tensor("two", [2])]),
    "nothing out": _after(
        [node("Slice", ["m", "zero", "zero", "axes"], ["y"])], [tensor("zero", [0])]
    ),
    "a scalar out": _after([node("ReduceMean", ["m"], ["y"], keepdims=0)]),
    "NaN": _after(
        [node("Sub", ["m", "m"], ["z"]), node("Div", ["z", "z"], ["y"])],
    ),
    "infinity": _after(
        [node("Sub", ["m", "m"], ["z"]), node("Div", ["one", "z"], ["y"])],
        [tensor("one", 1.0, np.float32)],
    ),
    "logits": _after(
        [node("Mul", ["m", "ten"], ["z"]), node("Sub", ["z", "five"], ["y"])],
        [tensor("ten", 20.0, np.float32), tensor("five", 10.0, np.float32)],
    ),
    "pixels": _after([node("Mul", ["m", "many"], ["y"])], [tensor("many", 255.0, np.float32)]),
    "no such channel": _after([node("Identity", ["m"], ["y"])], channel=1),
}
"""By what is wrong: writes such a file."""

ODD: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "sigmoid twice": (
        "odd-maps",
        _after([node("Sigmoid", ["m"], ["y"])], logits=True),
    ),
    "two classes": (
        "several-channels",
        _after([node("Concat", ["m", "m"], ["y"], axis=1)]),
    ),
    "a little above 1": (
        "odd-maps",
        _after([node("Mul", ["m", "more"], ["y"])], [tensor("more", 1.02, np.float32)]),
    ),
}
"""By what is odd: the code of the warning, and what writes such a file."""
