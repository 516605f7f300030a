"""The graphs that engines on CPUs are built of: other operators, the same results."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from ocdnet.backends.rewriting import quantize_behind, quantize_once, upsample_last
from ocdnet.data.preprocess import Preprocess
from ocdnet.quantization.calibration import calibration_batches, calibration_images
from ocdnet.quantization.qdq import insert_qdq
from ocdnet.quantization.ranges import calibrate


def results(model, images):
    """Of a graph as it stands: ONNX Runtime's own rewriting is off."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {session.get_inputs()[0].name: images})


def kinds(model):
    return Counter(node.op_type for node in model.graph.node)


def simplified(model):
    other = onnx.ModelProto()
    other.CopyFrom(model)
    upsample_last(other)
    quantize_once(other)
    onnx.checker.check_model(other, full_check=True)
    return other


def network(nodes, weights, channels, outputs):
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", channels, "h", "w"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


LAYER = st.sampled_from(["up", "up", "up", "Relu", "Sigmoid", "Neg"])


@given(
    layers=st.lists(LAYER, min_size=1, max_size=5),
    widths=st.lists(st.integers(1, 5), min_size=6, max_size=6),
    steps=st.lists(st.integers(1, 3), min_size=5, max_size=5),
    biased=st.booleans(),
    told=st.sets(st.integers(0, 4)),
    size=st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 4)),
)
@settings(max_examples=60, deadline=None)
def test_transposed_convolutions_become_plain_ones(layers, widths, steps, biased, told, size):
    """Chains with activations and others between, any of their tensors being an output, too."""
    rng = np.random.default_rng(len(layers))
    nodes, weights, channels = [], {}, widths[0]
    for place, kind in enumerate(layers):
        source, target = f"t{place}" if place else "x", f"t{place + 1}"
        if kind != "up":
            nodes.append(helper.make_node(kind, [source], [target], f"n{place}"))
            continue
        made, step = widths[place + 1], steps[place]
        weights[f"w{place}"] = rng.normal(size=(channels, made, step, step)).astype(np.float32)
        names = [source, f"w{place}"]
        if biased:
            weights[f"b{place}"] = rng.normal(size=made).astype(np.float32)
            names.append(f"b{place}")
        square = {"kernel_shape": [step] * 2, "strides": [step] * 2}
        nodes.append(helper.make_node("ConvTranspose", names, [target], f"n{place}", **square))
        channels = made
    outputs = [f"t{place}" for place in range(1, len(layers) + 1)]
    outputs = [name for place, name in enumerate(outputs) if place in told] or outputs[-1:]
    model = network(nodes, weights, widths[0], outputs)
    other = simplified(model)
    assert "ConvTranspose" not in kinds(other)
    images = rng.normal(size=(size[0], widths[0], *size[1:])).astype(np.float32)
    for left, right in zip(results(model, images), results(other, images), strict=True):
        np.testing.assert_allclose(right, left, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": [2, 2], "kernel_shape": [3, 3], "shape": 3},
        {"strides": [1, 1]},
        {"strides": [2, 2], "pads": [1, 1, 1, 1]},
        {"strides": [2, 2], "output_padding": [1, 1]},
        {"strides": [2, 2], "dilations": [2, 2]},
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"strides": [2, 2], "group": 2},
        {"strides": [2, 2], "output_shape": [7, 7]},
        {},
    ],
)
def test_other_transposed_convolutions_are_left(attributes):
    side = attributes.pop("shape", 2)
    weights = {"w": np.ones((2, 2, side, side), np.float32)}
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], "up", **attributes)
    model = network([node], weights, 2, ["y"])
    assert simplified(model) == model


def test_two_layers_with_the_same_weights():
    weights = {"w": np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)}
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["t"], "one", strides=[2, 2]),
        helper.make_node("ConvTranspose", ["t", "w"], ["y"], "two", strides=[2, 2]),
    ]
    model = network(nodes, weights, 1, ["y"])
    images = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)
    np.testing.assert_array_equal(results(simplified(model), images), results(model, images))


def test_a_detectors_head_stays_small_to_its_end(detector_onnx, scenes):
    model = onnx.load(detector_onnx)
    other = simplified(model)
    assert kinds(model)["ConvTranspose"] == 2
    assert kinds(other)["DepthToSpace"] == 1
    assert other.graph.node[-1].op_type == "DepthToSpace"
    images = np.concatenate(list(_batches(scenes)))
    np.testing.assert_allclose(results(other, images)[0], results(model, images)[0], atol=1e-5)


def _batches(scenes):
    images = calibration_images([scenes / "test/img"], 4)
    return calibration_batches(images, Preprocess((160, 160)), 1)


def test_what_is_on_a_grid_is_not_quantized_again(detector_onnx, scenes, tmp_path):
    """Bit for bit, as ONNX defines the operators; only the transposed convolutions round anew."""
    ranges = calibrate(detector_onnx, _batches(scenes), "minmax")
    insert_qdq(detector_onnx, tmp_path / "int8.onnx", ranges, activations="uint8")
    model = onnx.load(tmp_path / "int8.onnx")
    other = simplified(model)
    made_by = {output: node.op_type for node in other.graph.node for output in node.output}
    for node in other.graph.node:
        if node.op_type == "QuantizeLinear":
            assert made_by.get(node.input[0]) not in ("Resize", "MaxPool", "Concat")
    # Six enlargements' and the concatenation's.
    assert kinds(model)["QuantizeLinear"] - kinds(other)["QuantizeLinear"] == 7
    images = np.concatenate(list(_batches(scenes)))
    np.testing.assert_allclose(results(other, images)[0], results(model, images)[0], atol=1e-5)


def test_an_activation_and_a_sum_are_rounded_once_behind_their_convolution(tmp_path):
    """What MobileNetV3 has: hard-swish, and a residual sum; what is constant is calibrated, too."""
    rng = np.random.default_rng(0)
    weights = {f"w{i}": rng.normal(0, 0.2, (8, 8, 1, 1)).astype(np.float32) for i in (1, 2, 3)}
    weights["w3"] *= 0
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "one"),
        helper.make_node("HardSwish", ["a"], ["b"], "swish"),
        helper.make_node("Conv", ["b", "w2"], ["c"], "two"),
        helper.make_node("Conv", ["x", "w3"], ["nothing"], "three"),
        helper.make_node("Add", ["c", "nothing"], ["d"], "sum"),
        helper.make_node("Add", ["d", "b"], ["e"], "sum2"),
        helper.make_node("Conv", ["e", "w1"], ["y"], "last"),
    ]
    model = network(nodes, weights, 8, ["y"])
    onnx.save(model, tmp_path / "float.onnx")
    images = rng.normal(size=(1, 8, 4, 4)).astype(np.float32)
    ranges = calibrate(tmp_path / "float.onnx", [images], "percentile")
    insert_qdq(tmp_path / "float.onnx", tmp_path / "int8.onnx", ranges, activations="uint8")
    before, after = (onnx.load(tmp_path / "int8.onnx") for _ in range(2))
    assert kinds(before)["HardSwish"] == 1
    assert "HardSigmoid" not in kinds(before)
    quantize_behind(after)
    onnx.checker.check_model(after, full_check=True)
    # Before the activation, and before the first sum on one of its sides.
    assert kinds(before)["QuantizeLinear"] - kinds(after)["QuantizeLinear"] == 2
    exact = results(model, images)[0]
    errors = [np.abs(results(one, images)[0] - exact).mean() for one in (before, after)]
    assert errors[1] <= errors[0] < 0.03


SCALE, ZERO = np.float32(0.1), np.uint8(3)


def twice(second=(SCALE, ZERO), between=None, outputs=("y",)):
    """A tensor that is quantized, perhaps changed, and quantized again."""
    weights = {"s": SCALE, "z": ZERO}
    weights |= {"s2": np.asarray(second[0], np.float32), "z2": np.asarray(second[1])}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "q"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "d"),
        helper.make_node("QuantizeLinear", ["m" if between else "d", "s2", "z2"], ["q2"], "q2"),
        helper.make_node("DequantizeLinear", ["q2", "s2", "z2"], ["d2"], "d2"),
        helper.make_node("Relu", ["d2"], ["y"], "y"),
    ]
    if between:
        pool = helper.make_node(between, ["d"], ["m"], "m", kernel_shape=[2, 2])
        nodes.insert(2, pool)
    return network(nodes, weights, 2, outputs)


@pytest.mark.parametrize(
    ("model", "left"),
    [
        (twice(), 1),
        (twice(between="MaxPool"), 1),
        (twice(between="AveragePool"), 2),
        (twice(second=(0.2, np.uint8(3))), 2),
        (twice(second=(0.1, np.uint8(4))), 2),
        (twice(second=(0.1, np.int8(3))), 2),
        (twice(second=([0.1, 0.1], np.array([3, 3], np.uint8))), 2),
        (twice(outputs=("y", "d2")), 2),
    ],
)
def test_which_grids_are_the_same(model, left):
    other = simplified(model)
    assert kinds(other)["QuantizeLinear"] == left
    images = np.random.default_rng(0).normal(size=(1, 2, 4, 4)).astype(np.float32) * 20
    for one, same in zip(results(model, images), results(other, images), strict=True):
        np.testing.assert_array_equal(one, same)


def test_branches_are_left_alone():
    """They read tensors of the graph around them, which their node does not name."""
    weights = {"w": np.ones((1, 1, 2, 2), np.float32), "c": np.array(True)}
    output = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    body = helper.make_graph([helper.make_node("Relu", ["t"], ["o"])], "body", [], [output])
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["t"], "up", strides=[2, 2]),
        helper.make_node("If", ["c"], ["y"], "if", then_branch=body, else_branch=body),
    ]
    model = network(nodes, weights, 1, ["y"])
    assert simplified(model) == model
