"""INT8 ONNX: what is integer, what stays, and that it computes nearly the same."""

from __future__ import annotations

import dataclasses
import json

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

import support
from ocdnet.backends import int8, openvino
from ocdnet.backends.onnx import OnnxPredictor, optimise
from ocdnet.backends.sidecar import Engine
from ocdnet.data.preprocess import Preprocess
from ocdnet.errors import DataError
from ocdnet.findings import collecting
from ocdnet.hardware import int8_overflows
from ocdnet.quantization import qdq
from ocdnet.quantization.calibration import calibration_batches, calibration_images
from ocdnet.quantization.graphs import prepared
from ocdnet.quantization.qdq import insert_qdq
from ocdnet.quantization.ranges import ALGORITHMS, Ranges, calibrate
from ocdnet.quantization.smoothing import smooth

PREPROCESS = Preprocess((support.SIDE, support.SIDE))


def batches(folder, mode="BGR", size=1):
    images = calibration_images([folder / "img"], 8)
    return calibration_batches(images, dataclasses.replace(PREPROCESS, img_mode=mode), size)


@pytest.fixture(scope="module")
def ranges(scenes, detector_onnx):
    return calibrate(detector_onnx, batches(scenes / "train"), "minmax")


def maps(path, images):
    return ort.InferenceSession(path).run(None, {"input": images})[0]


@pytest.fixture(scope="module")
def images(scenes):
    return np.concatenate(list(batches(scenes / "test")))


@pytest.mark.parametrize("activations", ["int8", "uint8"])
def test_it_computes_nearly_the_same_in_integers(
    detector_onnx, ranges, images, tmp_path, activations
):
    target = tmp_path / "int8.onnx"
    report = insert_qdq(detector_onnx, target, ranges, activations=activations)
    left, right = maps(detector_onnx, images), maps(target, images)
    if activations == "uint8" or not int8_overflows():  # TensorRT's file is computed elsewhere
        assert 0 < np.abs(left - right).max() < 0.35
        assert np.abs(left - right).mean() < 0.02
        assert ((left > 0.5) == (right > 0.5)).mean() > 0.99
    model = onnx.load(target)
    onnx.checker.check_model(model)
    kinds = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "DeformConv"} <= kinds
    integers = [c for c in model.graph.initializer if c.data_type == onnx.TensorProto.INT8]
    assert len([c for c in integers if len(c.dims) == 4]) == len(report.quantized)
    assert all(np.abs(numpy_helper.to_array(c).astype(int)).max() <= 127 for c in integers)


def test_the_file_says_what_its_source_says(detector_onnx, ranges, tmp_path):
    insert_qdq(detector_onnx, tmp_path / "int8.onnx", ranges)
    told = [
        {prop.key: prop.value for prop in onnx.load(path).metadata_props}
        for path in (detector_onnx, tmp_path / "int8.onnx")
    ]
    assert told[0] == told[1]
    assert Preprocess.from_metadata(told[1]).size == (support.SIDE, support.SIDE)
    batch = onnx.load(tmp_path / "int8.onnx").graph.input[0].type.tensor_type.shape.dim[0]
    assert batch.dim_param  # still any number of images


def test_deformable_layers_and_their_offsets_stay_in_float(detector_onnx, ranges, tmp_path):
    report = insert_qdq(detector_onnx, tmp_path / "int8.onnx", ranges)
    model = onnx.load(tmp_path / "int8.onnx")
    made_by = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        if node.op_type == "DeformConv":
            for name in (node.input[1], node.input[2]):
                assert made_by.get(name) is None or made_by[name].op_type != "DequantizeLinear"
    kept = {name for name in report.left if "conv2" in name}
    assert {name for name in kept if name.endswith("_offset")}
    assert {name for name in kept if name.endswith("conv2")}


def test_names_that_are_left_out(detector_onnx, ranges, tmp_path):
    target = tmp_path / "int8.onnx"
    every = insert_qdq(detector_onnx, target, ranges).quantized
    report = insert_qdq(detector_onnx, target, ranges, skip=["neck.*"])
    assert {name for name in every if name.startswith("neck.")}
    assert set(every) - set(report.quantized) == {n for n in every if n.startswith("neck.")}
    report = insert_qdq(detector_onnx, target, ranges, only=["neck.out*"])
    assert {name.split(".")[1] for name in report.quantized} == {"out2", "out3", "out4", "out5"}


@pytest.mark.parametrize("activations", ["int8", "uint8"])
def test_what_is_concatenated_has_one_scale(detector_onnx, ranges, tmp_path, activations):
    insert_qdq(detector_onnx, tmp_path / "int8.onnx", ranges, activations=activations)
    model = onnx.load(tmp_path / "int8.onnx")
    made_by = {output: node for node in model.graph.node for output in node.output}
    constants = {
        c.name: numpy_helper.to_array(c).item() for c in model.graph.initializer if not c.dims
    }
    (joined,) = (node for node in model.graph.node if node.op_type == "Concat")
    scales, waiting = set(), list(joined.input)
    while waiting:
        node = made_by[waiting.pop()]
        if node.op_type == "QuantizeLinear":
            scales.add(tuple(constants[name] for name in node.input[1:]))
        if node.op_type != "Conv":
            waiting.append(node.input[0])
    after = [n for n in model.graph.node if joined.output[0] in n.input]
    scales |= {tuple(constants[name] for name in node.input[1:]) for node in after}
    assert len(scales) == 1
    low, high = ranges.values[joined.output[0]]
    (scale, _), steps = scales.pop(), 255 if activations == "uint8" else 254
    reach = high - low if activations == "uint8" else 2 * max(high, -low)
    assert scale * steps == pytest.approx(reach, rel=1e-3)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_algorithms(scenes, detector_onnx, ranges, algorithm):
    found = calibrate(detector_onnx, batches(scenes / "train"), algorithm)
    assert found.values.keys() == ranges.values.keys()
    for low, high in found.values.values():
        assert low <= high
        if algorithm == "max":
            assert low == pytest.approx(-high)
    narrower = sum(np.ptp(found.values[n]) < np.ptp(ranges.values[n]) for n in ranges.values)
    assert (narrower > 0) == (algorithm in ("entropy", "percentile"))


def test_images_are_read_in_the_order_that_the_network_sees(detector_onnx, tmp_path):
    """A picture that is all blue: its range tells whether blue came first or last."""
    (tmp_path / "img").mkdir()
    cv2.imwrite(str(tmp_path / "img/blue.png"), np.full((160, 160, 3), (255, 0, 0), np.uint8))
    first = {mode: next(batches(tmp_path, mode))[0, :, 0, 0] for mode in ("BGR", "RGB")}
    assert first["BGR"].argmax() == 0
    assert first["RGB"].argmax() == 2
    reached = {
        mode: calibrate(detector_onnx, batches(tmp_path, mode), "minmax").values["input"]
        for mode in ("BGR", "RGB")
    }
    for mode, (low, high) in reached.items():
        assert (low, high) == pytest.approx((first[mode].min(), first[mode].max()), abs=1e-5)
    assert reached["BGR"] != reached["RGB"]


def test_smoothing_changes_nothing_in_float(detector_onnx, ranges, images, tmp_path):
    graph = prepared(detector_onnx, tmp_path)
    before = maps(str(graph.path), images)
    model = onnx.load(graph.path)
    smooth(model, ranges.factors)
    onnx.save(model, tmp_path / "smooth.onnx")
    np.testing.assert_allclose(maps(tmp_path / "smooth.onnx", images), before, atol=1e-4)
    factors = np.concatenate([np.array(row) for row in ranges.factors.values()])
    assert (factors > 0).all()
    assert (factors != 1).mean() > 0.5


def test_ranges_as_json(ranges):
    assert Ranges.from_json(json.loads(json.dumps(ranges.to_json()))) == ranges


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.pop("values"),
        lambda content: content["values"].update(a=[1, "x"]),
        lambda content: content["values"].update(a=[0, float("nan")]),
        lambda content: content["factors"].update(a=[-1.0]),
        lambda content: content.update(factors=[1]),
    ],
)
def test_spoilt_ranges(ranges, spoil):
    content = json.loads(json.dumps(ranges.to_json()))
    spoil(content)
    with pytest.raises(DataError, match="no calibration ranges"):
        Ranges.from_json(content)


def test_ranges_of_another_network(detector_onnx, ranges, tmp_path):
    values = {f"other_{name}": ends for name, ends in ranges.values.items()}
    for wrong in (
        dataclasses.replace(ranges, values=values),
        dataclasses.replace(ranges, factors={"other": [1.0]}),
    ):
        with pytest.raises(DataError) as raised:
            insert_qdq(detector_onnx, tmp_path / "int8.onnx", wrong)
        assert raised.value.code == "calibration-mismatch"
    assert list(tmp_path.iterdir()) == []


def test_calibration_folders(scenes, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    archive = tmp_path / "images.tar.gz"
    archive.write_bytes(b"\x1f\x8b")
    for folder, words in ((empty, "no calibration"), (archive, "archive"), (tmp_path / "no", "no")):
        with pytest.raises(DataError, match=words):
            calibration_images([scenes / "train/img", folder], 8)


def test_calibration_images_are_spread_over_the_folders(scenes):
    folders = [scenes / "train/img", scenes / "test/img"]
    every = calibration_images(folders, 100)
    assert [path.parent for path in every] == [folders[0]] * 8 + [folders[1]] * 4
    assert calibration_images(folders, 12) == every
    assert calibration_images(folders, 4) == every[::3]
    assert calibration_images(folders, 1) == every[:1]
    uneven = calibration_images(folders, 5)
    assert len(set(uneven)) == 5
    assert uneven == sorted(uneven, key=every.index)


def test_no_images_and_no_network(detector_onnx, scenes, tmp_path):
    with pytest.raises(DataError, match="no calibration images"):
        calibrate(detector_onnx, iter(()), "minmax")
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"bad\.onnx"):
        calibrate(tmp_path / "bad.onnx", batches(scenes / "train"), "minmax")


def test_a_network_of_several_inputs(detector_onnx, scenes, tmp_path):
    model = onnx.load(detector_onnx)
    more = onnx.helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, [1])
    model.graph.input.append(more)
    onnx.save(model, tmp_path / "two.onnx")
    with pytest.raises(DataError, match="2 inputs"):
        calibrate(tmp_path / "two.onnx", batches(scenes / "train"), "minmax")


@pytest.mark.parametrize(("overflows", "largest"), [(True, 64), (False, 127)])
def test_weights_have_7_bits_where_8_overflow(
    detector_onnx, ranges, tmp_path, monkeypatch, overflows, largest
):
    monkeypatch.setattr(qdq, "int8_overflows", lambda: overflows)
    target = tmp_path / "int8.onnx"
    for activations, expected in (("uint8", largest), ("int8", 127)):
        insert_qdq(detector_onnx, target, ranges, activations=activations)
        constants = onnx.load(target).graph.initializer
        stored = [
            numpy_helper.to_array(c)
            for c in constants
            if c.data_type == onnx.TensorProto.INT8 and c.dims
        ]
        assert (
            max(int(np.abs(one.astype(int)).max()) for one in stored if one.ndim == 4) == expected
        )


def opened(kind, source, folder):
    """Codes of what is noted when an engine of an INT8 ONNX file is opened."""
    engine = folder / f"{kind}.engine"
    if kind == "openvino":
        openvino.build(source, engine)
        described = Engine(
            kind="openvino",
            precision="INT8",
            input="input",
            width=support.SIDE,
            height=support.SIDE,
            batch={"min": 1, "opt": 1, "max": 1},
            preprocess=OnnxPredictor(source).feeding(),
            source={"file": source.name, "sha256": ""},
            engine_sha256="",
        )
        with collecting() as findings:
            openvino.OpenVinoPredictor(engine, described)
    else:
        optimise(source, engine)
        with collecting() as findings:
            OnnxPredictor(engine)
    return [row.code for row in findings.rows()]


@pytest.mark.parametrize("kind", ["onnxruntime", "openvino"])
def test_a_cpu_on_which_8_bits_overflow_says_so(detector_onnx, ranges, tmp_path, monkeypatch, kind):
    source = tmp_path / "int8.onnx"
    for written_for, opened_on, codes in (
        (False, True, ["int8-overflow"]),
        (False, False, []),
        (True, True, []),
    ):
        monkeypatch.setattr(qdq, "int8_overflows", lambda it=written_for: it)
        monkeypatch.setattr(int8, "int8_overflows", lambda it=opened_on: it)
        insert_qdq(detector_onnx, source, ranges, activations="uint8")
        assert opened(kind, source, tmp_path) == codes
    assert opened(kind, detector_onnx, tmp_path) == []
