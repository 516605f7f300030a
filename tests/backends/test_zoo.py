"""Models that are no detectors, or odd ones: an error or a warning of the model, never a bug."""

from __future__ import annotations

import cv2
import numpy as np
import onnx
import pytest

from backends import zoo
from ocdnet import findings
from ocdnet.actions import evaluate, gen_trt_engine, inference
from ocdnet.actions.agreement import check_agreement, images_with_text
from ocdnet.backends.onnx import OnnxPredictor
from ocdnet.backends.open import check_fit
from ocdnet.config import spec
from ocdnet.data.preprocess import Preprocess
from ocdnet.errors import DataError, RunError

SIDE = 64


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three pictures of noise, from dark to white, and a label for each."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "img").mkdir()
    (folder / "gt").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        pixels[:16] = 255
        cv2.imwrite(str(folder / f"img/{number}.png"), pixels)
        (folder / f"gt/gt_{number}.txt").write_text("1,1,60,1,60,14,1,14,word\n")
    return folder


def run_inference(model, data, out):
    given = {
        "checkpoint": model,
        "input_folder": data / "img",
        "width": SIDE,
        "height": SIDE,
        "batch_size": 2,
    }
    overrides = [f"inference.{key}={value}" for key, value in given.items()]
    return inference.run(spec.load("inference", None, [*overrides, f"results_dir={out}"]))


def run_evaluate(model, data, out):
    validate = "dataset.validate_dataset"
    overrides = [
        f"evaluate.checkpoint={model}",
        "evaluate.batch_size=2",
        f"{validate}.data_path=[{data}]",
        f"{validate}.args.pre_processes.0.args.short_size=[{SIDE},{SIDE}]",
        f"results_dir={out}",
    ]
    return evaluate.run(spec.load("evaluate", None, overrides))


def build(model, data, out, *more):
    section = "gen_trt_engine"
    overrides = [
        f"{section}.onnx_file={model}",
        f"{section}.trt_engine={out}/model.engine",
        f"{section}.width={SIDE}",
        f"{section}.height={SIDE}",
        f"{section}.tensorrt.max_batch_size=2",
        f"results_dir={out}",
        *(f"{section}.{entry}" for entry in more),
    ]
    return gen_trt_engine.run(spec.load(section, None, overrides))


def int8(data, out):
    calibration = "tensorrt.calibration"
    return (
        "tensorrt.data_type=INT8",
        f"{calibration}.cal_image_dir=[{data}/img]",
        f"{calibration}.cal_cache_file={out}/cal.cache",
        f"{calibration}.cal_batches=1",
    )


ACTIONS = {"inference": run_inference, "evaluate": run_evaluate}
for kind in ("onnxruntime", "openvino"):
    ACTIONS[kind] = lambda m, d, out, kind=kind: build(m, d, out, f"backend={kind}")
    ACTIONS[f"{kind} int8"] = lambda m, d, out, kind=kind: build(
        m, d, out, f"backend={kind}", *int8(d, out)
    )


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("wrong", zoo.REFUSED)
def test_no_detector(data, tmp_path, wrong, action):
    model = zoo.REFUSED[wrong](tmp_path / "model.onnx")
    with pytest.raises(DataError) as caught:
        ACTIONS[action](model, data, tmp_path / "out")
    error = caught.value
    assert "model.onnx" in error.message
    if error.code in ("network-refused", "no-probability-map"):
        assert f"{SIDE}x{SIDE}" in error.message
        assert "batch" in error.message
    if error.code == "network-refused":
        section = action if action in ("inference", "evaluate") else "gen_trt_engine"
        assert f"{section}.batch_size" in error.hint
    assert not list((tmp_path / "out").rglob("*.engine*"))
    assert not list((tmp_path / "out").rglob("*.cache"))


@pytest.mark.parametrize("action", ["inference", "evaluate"])
@pytest.mark.parametrize("odd", zoo.ODD)
def test_an_odd_map_is_counted(data, tmp_path, odd, action):
    code, write = zoo.ODD[odd]
    result = ACTIONS[action](write(tmp_path / "model.onnx"), data, tmp_path / "out")
    (warning,) = result.warnings
    assert warning.code == code
    assert "model.onnx.json" in warning.message
    assert f"`{warning.key}`" in warning.message
    assert (warning.count, bool(warning.files)) == (3, True)


def test_a_channel_that_is_named_is_read_and_no_warning(data, tmp_path):
    nodes = [
        *zoo.brightness("m"),
        zoo.node("Sub", ["one", "m"], ["background"]),
        zoo.node("Concat", ["background", "m"], ["y"], axis=1),
    ]
    one = zoo.tensor("one", 1.0, np.float32)
    model = zoo.saved(tmp_path / "model.onnx", nodes, constants=[zoo.AXES, one], channel=1)
    images = np.random.default_rng(0).random((2, 3, SIDE, SIDE), np.float32)
    np.testing.assert_allclose(OnnxPredictor(model)(images), images.mean(axis=1), atol=1e-6)
    assert run_inference(model, data, tmp_path / "out").warnings == ()
    built = build(model, data, tmp_path / "engine", "backend=onnxruntime")
    assert built.warnings == ()
    assert '"channel": 1' in (tmp_path / "engine/model.engine.json").read_text()


def convolutional(path, *, opset=18, weight=None, bias=0.0):
    """Two convolutions and a sigmoid: something that can be int8."""
    kernel = np.full((4, 3, 3, 3), 1 / 27, np.float32) if weight is None else weight
    last = np.full((1, 4, 1, 1), 2.0, np.float32)
    nodes = [
        zoo.node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], name="first"),
        zoo.node("Relu", ["c"], ["r"], name="relu"),
        zoo.node("Conv", ["r", "v", "d"], ["z"], name="last"),
        zoo.node("Sigmoid", ["z"], ["y"], name="sigmoid"),
    ]
    constants = [
        zoo.tensor("w", kernel, np.float32),
        zoo.tensor("b", [bias] * 4, np.float32),
        zoo.tensor("v", last, np.float32),
        zoo.tensor("d", [-5.0], np.float32),
    ]
    return zoo.saved(path, nodes, constants=constants, opset=opset)


@pytest.mark.parametrize("kind", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("opset", [9, 11, 13, 17, 18, 20])
def test_int8_of_any_opset(data, tmp_path, opset, kind):
    model = convolutional(tmp_path / "model.onnx", opset=opset)
    built = build(model, data, tmp_path / "out", f"backend={kind}", *int8(data, tmp_path))
    assert built.layers_quantized == 2
    assert built.mean_difference < 0.02


def test_int8_of_weights_beside_the_file_and_their_digest(data, tmp_path):
    inside = onnx.load(convolutional(tmp_path / "model.onnx"))
    options = {"save_as_external_data": True, "location": "w.data", "size_threshold": 16}
    onnx.save(inside, tmp_path / "model.onnx", **options)
    assert (tmp_path / "w.data").stat().st_size > 400
    cache = int8(data, tmp_path)
    for kind in ("onnxruntime", "openvino"):
        built = build(tmp_path / "model.onnx", data, tmp_path / kind, f"backend={kind}", *cache)
        assert built.layers_quantized == 2
    assert built.calibration_reused
    inside = onnx.load(tmp_path / "model.onnx")
    inside.graph.initializer[0].CopyFrom(
        zoo.tensor("w", np.full((4, 3, 3, 3), 1 / 20, np.float32), np.float32)
    )
    before = (tmp_path / "model.onnx").read_bytes()
    (tmp_path / "w.data").unlink()
    onnx.save(inside, tmp_path / "model.onnx", **options)
    assert (tmp_path / "model.onnx").read_bytes() == before  # other weights, the same graph file
    with pytest.raises(DataError, match="calibration of another model"):
        build(tmp_path / "model.onnx", data, tmp_path / "o", "backend=onnxruntime", *cache)
    (tmp_path / "w.data").unlink()
    with pytest.raises(DataError, match=r"model\.onnx"):
        build(tmp_path / "model.onnx", data, tmp_path / "o", "backend=onnxruntime", *cache)


@pytest.mark.parametrize("bias", [5.0, 1e-41, -1e-35])
def test_int8_of_activations_that_hardly_vary(data, tmp_path, bias):
    """A layer that is dead, or denormal: its values span less than a histogram's bins."""
    weight = np.full((4, 3, 3, 3), 1e-9, np.float32)
    model = convolutional(tmp_path / "model.onnx", weight=weight, bias=bias)
    built = build(model, data, tmp_path / "out", "backend=onnxruntime", *int8(data, tmp_path))
    assert built.mean_difference < 0.02


def test_int8_of_a_network_without_layers(data, tmp_path):
    model = zoo.saved(tmp_path / "model.onnx", zoo.brightness(), constants=[zoo.AXES])
    with pytest.raises(DataError, match="no layer") as caught:
        build(model, data, tmp_path / "out", "backend=onnxruntime", *int8(data, tmp_path))
    assert "FP32" in caught.value.hint
    assert not (tmp_path / "cal.cache").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_no_number(data, tmp_path, value):
    weight = np.full((4, 3, 3, 3), 1 / 27, np.float32)
    weight[0, 0, 0, 0] = value
    model = convolutional(tmp_path / "model.onnx", weight=weight)
    with pytest.raises(DataError, match=r"model\.onnx holds weights that are NaN") as caught:
        build(model, data, tmp_path / "out", "backend=onnxruntime")
    assert "of w" in caught.value.got
    with pytest.raises(DataError, match=r"model\.onnx"):
        run_inference(model, data, tmp_path / "results")


def test_calibration_images_without_text_are_a_warning(tmp_path):
    (tmp_path / "dark/img").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "dark/img/0.png"), np.zeros((SIDE, SIDE, 3), np.uint8))
    model = convolutional(tmp_path / "model.onnx")
    cache = int8(tmp_path / "dark", tmp_path)
    built = build(model, data, tmp_path / "out", "backend=onnxruntime", *cache)
    (warning,) = [entry for entry in built.warnings if entry.code == "calibration-without-text"]
    assert warning.key == "gen_trt_engine.tensorrt.calibration.cal_image_dir"
    assert warning.files == (str(tmp_path / "dark/img/0.png"),)


def test_networks_that_find_other_text(tmp_path):
    """Half of the blocks is a warning, none at all an error."""
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[4:24, 4:60] = 250
    pixels[36:56, 4:60] = 200
    image = tmp_path / "image.png"
    cv2.imwrite(str(image), pixels)

    def network(name, factor, shift):
        nodes = [
            *zoo.brightness("m"),
            zoo.node("Mul", ["m", "factor"], ["z"]),
            zoo.node("Add", ["z", "shift"], ["s"]),
            zoo.node("Clip", ["s", "low", "high"], ["y"]),
        ]
        numbers = {"factor": factor, "shift": shift, "low": 0.0, "high": 1.0}
        constants = [zoo.tensor(key, value, np.float32) for key, value in numbers.items()]
        path = tmp_path / f"{name}.onnx"
        return OnnxPredictor(zoo.saved(path, nodes, constants=[zoo.AXES, *constants]))

    both, one, none = network("a", 1, 0), network("b", 5, -4), network("c", 0, 0)
    preprocess = check_fit(both, Preprocess((SIDE, SIDE)), tmp_path)
    with findings.collecting() as seen:
        assert images_with_text(both, preprocess, [image], "key") == [image]
        check_agreement(both, both, preprocess, [image], "key")
        assert seen.rows() == []
        check_agreement(both, one, preprocess, [image], "key")
    (row,) = seen.rows()
    assert (row.code, row.key, row.files) == ("other-text", "key", [str(image)])
    assert "0.67" in row.message
    with pytest.raises(RunError, match="finds no text"):
        check_agreement(both, none, preprocess, [image], "key")
