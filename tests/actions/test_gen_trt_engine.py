"""gen_trt_engine without a GPU: engines that score as their checkpoint does, or no file at all."""

from __future__ import annotations

import json
import logging
import shutil

import numpy as np
import onnx
import pytest

import support
from ocdnet.actions import gen_trt_engine
from ocdnet.backends.open import open_engine
from ocdnet.errors import DataError, EnvironmentFault, RunError, SpecError

pytestmark = pytest.mark.usefixtures("small_network")

PROFILE = (
    "gen_trt_engine.tensorrt.opt_batch_size=2",
    "gen_trt_engine.tensorrt.max_batch_size=3",
)
KINDS = ("onnxruntime", "openvino")
INT8 = "gen_trt_engine.tensorrt.data_type=INT8"
CALIBRATION = "gen_trt_engine.tensorrt.calibration"


def int8(scenes, cache, batches=4):
    return (
        INT8,
        f"{CALIBRATION}.cal_image_dir=[{scenes}/train/img]",
        f"{CALIBRATION}.cal_cache_file={cache}",
        f"{CALIBRATION}.cal_batches={batches}",
    )


@pytest.fixture(scope="module")
def engines(scenes, detector_onnx, tmp_path_factory):
    """An FP32 engine of each kind, with what was said of it."""
    folder = tmp_path_factory.mktemp("engines")
    made = {}
    for kind in KINDS:
        path = folder / kind / "detector.engine"
        backend = f"gen_trt_engine.backend={kind}"
        made[kind] = (path, support.build_engine(detector_onnx, path, backend, *PROFILE))
    return made


@pytest.fixture
def engine(engines, tmp_path):
    """A copy of ONNX Runtime's that may be spoilt."""
    path = tmp_path / "copy.engine"
    for suffix in ("", ".json"):
        shutil.copy(f"{engines['onnxruntime'][0]}{suffix}", f"{path}{suffix}")
    return path


def sidecar(path):
    return json.loads(path.with_name(f"{path.name}.json").read_text())


@pytest.mark.parametrize("kind", KINDS)
def test_an_engine_scores_as_its_checkpoint(engines, detector, scenes, tmp_path, kind):
    path, built = engines[kind]
    assert built["backend"] == kind
    assert "not a TensorRT engine" in built["note"]
    assert built["max_difference"] < 1e-5
    # A threshold at which some words are lost: a score of 1 would hide a difference.
    hard = "evaluate.post_processing.args.box_thresh=0.97"
    data = scenes / "train"
    want = support.evaluate(data, detector, tmp_path / "want", hard)
    got = support.evaluate_engine(data, path, tmp_path / "got", hard, "evaluate.batch_size=3")
    assert want["hmean"] < 1
    assert abs(got["hmean"] - want["hmean"]) <= 0.002
    assert got["counts"]["gt_care"] == 16
    assert got["backend"] == kind


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_the_checkpoints(engines, detector, scenes, tmp_path, kind):
    path, _ = engines[kind]
    images = scenes / "test" / "img"
    support.infer(images, detector, tmp_path / "want")
    given = ("inference.checkpoint=''", f"inference.trt_engine={path}")
    result = support.infer(images, "", tmp_path / "got", *given)
    assert result["images"] == 4
    for want in (tmp_path / "want/inference").glob("*.txt"):
        got = tmp_path / "got/inference" / want.name
        pairs = zip(want.read_text().splitlines(), got.read_text().splitlines(), strict=True)
        for left, right in pairs:
            np.testing.assert_allclose(support.box_of(left)[0], support.box_of(right)[0], atol=1)


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_beside_an_engine(engines, detector_onnx, kind):
    path, _ = engines[kind]
    told = sidecar(path)
    assert (told["kind"], told["precision"], told["calibration"]) == (kind, "FP32", None)
    assert told["batch"] == {"min": 1, "opt": 2, "max": 3}
    assert (told["width"], told["height"], told["input"]) == (160, 160, "input")
    assert told["preprocess"] == {
        "img_mode": "BGR",
        "mean": [122.67891434, 116.66876762, 104.00698793],
        "divisor": [255, 255, 255],
        "output": "pred",
        "logits": False,
    }
    assert {kind, "ocdnet"} <= set(told["versions"])
    import hashlib

    assert told["source"]["sha256"] == hashlib.sha256(detector_onnx.read_bytes()).hexdigest()
    assert support.leftovers(path.parent) == []


def test_auto_says_why_it_is_no_tensorrt_engine(engines, detector_onnx, tmp_path, caplog):
    caplog.set_level(logging.WARNING, "ocdnet")
    result = support.build_engine(
        detector_onnx, tmp_path / "a.engine", "gen_trt_engine.timing_cache=t.cache"
    )
    assert result["backend"] == "onnxruntime"
    assert "TensorRT is not installed" in result["why"]
    assert "TensorRT is not installed" in caplog.text
    assert result["without_effect"] == ["gen_trt_engine.timing_cache"]


def test_tensorrt_asked_for_where_there_is_none(detector_onnx, tmp_path):
    with pytest.raises(EnvironmentFault, match="TensorRT is not installed") as caught:
        support.build_engine(
            detector_onnx, tmp_path / "a.engine", "gen_trt_engine.backend=tensorrt"
        )
    assert "backend=onnxruntime" in caught.value.hint
    assert not (tmp_path / "a.engine").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_fp16(scenes, detector_onnx, tmp_path, kind):
    path = tmp_path / "half.engine"
    keep = "gen_trt_engine.tensorrt.layers_precision=[node_conv2d:fp32]"
    result = support.build_engine(
        detector_onnx,
        path,
        "gen_trt_engine.tensorrt.data_type=FP16",
        f"gen_trt_engine.backend={kind}",
        keep,
    )
    assert result["layers_fp32"] == 1
    assert 0 < result["max_difference"] < 0.02
    assert path.stat().st_size < 0.7 * detector_onnx.stat().st_size
    score = support.evaluate_engine(scenes / "test", path, tmp_path)
    assert score["hmean"] == 1


def test_one_layer_in_fp16(detector_onnx, tmp_path):
    path = tmp_path / "a.engine"
    support.build_engine(
        detector_onnx, path, "gen_trt_engine.tensorrt.layers_precision=[node_conv2d_1:FP16]"
    )
    graph = onnx.load(path).graph
    halves = [c.name for c in graph.initializer if c.data_type == onnx.TensorProto.FLOAT16]
    assert 1 <= len(halves) <= 2


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ("nothing", "bad-layer-precision"),
        ("node_conv2d:fp8", "bad-layer-precision"),
        ("no_such_node:fp16", "no-such-layer"),
        ("node_conv2d:int8", "conflict"),
    ],
)
def test_layers_precision_that_makes_no_sense(detector_onnx, tmp_path, entry, code):
    given = f"gen_trt_engine.tensorrt.layers_precision=['{entry}']"
    with pytest.raises(SpecError) as caught:
        support.build_engine(detector_onnx, tmp_path / "a.engine", given)
    assert caught.value.code == code
    assert not (tmp_path / "a.engine").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_int8_and_its_cache(scenes, detector_onnx, tmp_path, monkeypatch, kind):
    backend, cache = f"gen_trt_engine.backend={kind}", tmp_path / "cal.cache"
    first = tmp_path / "first.engine"
    built = support.build_engine(detector_onnx, first, backend, *int8(scenes, cache))
    assert (built["calibration_images"], built["calibration_reused"]) == (4, False)
    assert built["layers_quantized"] > 5
    assert any("conv2_offset" in name for name in built["layers_left"])
    assert sidecar(first)["calibration"]
    assert support.evaluate_engine(scenes / "test", first, tmp_path)["hmean"] == 1
    # The cache alone: nothing is calibrated again.
    from ocdnet.actions import calibration_cache

    monkeypatch.setattr(calibration_cache, "calibrate", None)
    second = tmp_path / "second.engine"
    again = support.build_engine(detector_onnx, second, backend, *int8(scenes, cache))
    assert again["calibration_reused"]
    assert sidecar(second)["calibration"] == sidecar(first)["calibration"]


def test_a_layer_that_stays_out_of_int8(scenes, detector_onnx, tmp_path):
    keep = "gen_trt_engine.tensorrt.layers_precision=['node_conv2d_1:fp32']"
    plain, kept = (tmp_path / name for name in ("plain.engine", "kept.engine"))
    given = int8(scenes, tmp_path / "c.cache", 1)
    left = [
        len(support.build_engine(detector_onnx, path, *given, *more)["layers_left"])
        for path, more in ((plain, ()), (kept, (keep,)))
    ]
    assert left[1] == left[0] + 1


@pytest.mark.parametrize("other", ["model", "images", "settings"])
def test_a_cache_of_something_else_is_refused(scenes, detector_onnx, tmp_path, other):
    cache = tmp_path / "cal.cache"
    support.build_engine(detector_onnx, tmp_path / "a.engine", *int8(scenes, cache, 1))
    before, model, more = cache.read_bytes(), detector_onnx, int8(scenes, cache, 1)
    if other == "model":
        graph = onnx.load(detector_onnx)
        graph.doc_string = "another"
        model = tmp_path / "other.onnx"
        onnx.save(graph, model)
    elif other == "images":
        more = int8(scenes, cache, 2)
    else:
        more = (*more, f"{CALIBRATION}.cal_batch_size=2", f"{CALIBRATION}.cal_batches=1")
    with pytest.raises(DataError, match="calibrat") as caught:
        support.build_engine(model, tmp_path / "b.engine", *more)
    assert caught.value.code == "calibration-mismatch"
    assert caught.value.got != caught.value.expected
    assert cache.read_bytes() == before
    assert not (tmp_path / "b.engine").exists()


@pytest.mark.parametrize("content", ["TRT-8601-EntropyCalibration2\ninput: 3c010a14\n", "{}", "[]"])
def test_a_file_that_is_no_cache_of_ours(scenes, detector_onnx, tmp_path, content):
    cache = tmp_path / "cal.cache"
    cache.write_text(content)
    with pytest.raises(DataError, match="is not a calibration cache"):
        support.build_engine(detector_onnx, tmp_path / "a.engine", *int8(scenes, cache))
    assert cache.read_text() == content


def test_a_cache_suffices_where_the_images_are_not(scenes, detector_onnx, tmp_path):
    images = support.copied(scenes, tmp_path / "scenes")
    given = int8(images, tmp_path / "cal.cache", 1)
    support.build_engine(detector_onnx, tmp_path / "a.engine", *given)
    shutil.rmtree(images)
    assert support.build_engine(detector_onnx, tmp_path / "b.engine", *given)["calibration_reused"]
    (tmp_path / "cal.cache").unlink()
    with pytest.raises(DataError, match="no folder"):
        support.build_engine(detector_onnx, tmp_path / "c.engine", *given)


@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_no_onnx(tmp_path, content):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"model\.onnx"):
        support.build_engine(path, tmp_path / "a.engine")
    assert not (tmp_path / "a.engine").exists()


@pytest.mark.parametrize(
    ("given", "error", "values"),
    [
        ("gen_trt_engine.width=192", DataError, ("192", "160")),
        ("gen_trt_engine.img_mode=RGB", DataError, ("RGB", "BGR")),
        ("gen_trt_engine.width=170", SpecError, ("170", "32")),
        (
            ["gen_trt_engine.batch_size=4", "gen_trt_engine.tensorrt.max_batch_size=8"],
            SpecError,
            ("4", "8"),
        ),
    ],
)
def test_what_the_onnx_was_not_made_for(detector_onnx, tmp_path, given, error, values):
    given = [given] if isinstance(given, str) else given
    with pytest.raises(error) as caught:
        support.build_engine(detector_onnx, tmp_path / "a.engine", *given)
    assert all(value in str(caught.value) for value in values)


def test_a_fixed_batch_is_filled_up(engines, scenes, detector_onnx, tmp_path):
    path = tmp_path / "four.engine"
    built = support.build_engine(detector_onnx, path, "gen_trt_engine.batch_size=4")
    assert built["batch"] == {"min": 4, "opt": 4, "max": 4}
    images = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 3, 160, 160)).astype(np.float32)
    want = open_engine(engines["onnxruntime"][0])(images)
    np.testing.assert_allclose(open_engine(path)(images), want, atol=1e-5)


def test_an_existing_file_is_kept(detector_onnx, tmp_path):
    for name in ("a.engine", "a.engine.json"):
        (tmp_path / name).write_text("precious")
        with pytest.raises(SpecError, match="exists"):
            support.build_engine(detector_onnx, tmp_path / "a.engine")
        assert (tmp_path / name).read_text() == "precious"
        (tmp_path / name).unlink()


def test_a_target_that_cannot_be_written(detector_onnx, tmp_path):
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "a.engine"
    results = f"results_dir={tmp_path}/results"
    with pytest.raises(EnvironmentFault, match="Cannot write"):
        support.build_engine(detector_onnx, target, results)


def test_without_parity_there_is_no_file(detector_onnx, tmp_path, monkeypatch):
    monkeypatch.setattr(gen_trt_engine, "TOLERANCE", -1)
    with pytest.raises(RunError, match="does not compute"):
        support.build_engine(detector_onnx, tmp_path / "a.engine")
    assert [path.name for path in tmp_path.iterdir()] == ["gen_trt_engine"]


def test_an_int8_engine_far_from_its_network_is_no_file(
    scenes, detector_onnx, tmp_path, monkeypatch
):
    monkeypatch.setattr(gen_trt_engine, "MEAN_TOLERANCE", 0.0)
    target = tmp_path / "far.engine"
    with pytest.raises(RunError, match="does not compute") as raised:
        support.build_engine(detector_onnx, target, *int8(scenes, tmp_path / "c.json"))
    assert "cal_batches" in raised.value.hint
    assert not list(tmp_path.glob("far.engine*"))


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ("evaluate.batch_size=4", ("4", "3 at most")),
        ("dataset.validate_dataset.args.img_mode=RGB", ("RGB", "BGR")),
        ("dataset.validate_dataset.args.pre_processes.0.args.short_size=[192,160]", ("192", "160")),
    ],
)
def test_what_an_engine_was_not_built_for(engine, scenes, tmp_path, given, values):
    with pytest.raises(DataError) as caught:
        support.evaluate_engine(scenes / "test", engine, tmp_path, given)
    assert all(value in str(caught.value) for value in values)


SPOILT = {
    "no json": "half",
    "no object": "[]",
    "unknown key": {"colour": "red"},
    "a later format": {"format": 2},
    "a kind that is not": {"kind": "tflite"},
    "no divisor": {"preprocess": {"divisor": [0, 255, 255]}},
    "two channels": {"preprocess": {"mean": [1, 2]}},
    "not finite": {"preprocess": {"mean": [1, 2, float("nan")]}},
    "no multiple of 32": {"width": 161},
    "batches out of order": {"batch": {"min": 3, "opt": 2, "max": 1}},
    "a batch missing": {"batch": None},
    "another output": {"preprocess": {"output": "logits"}},
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_damaged_sidecar(engine, scenes, tmp_path, what):
    change, told = SPOILT[what], sidecar(engine)
    if isinstance(change, dict):
        for key, value in change.items():
            nested = isinstance(value, dict) and key == "preprocess"
            told[key] = {**told[key], **value} if nested else value
        change = json.dumps(told)
    engine.with_name("copy.engine.json").write_text(change)
    with pytest.raises(DataError) as caught:
        support.evaluate_engine(scenes / "test", engine, tmp_path)
    assert "copy.engine" in caught.value.message


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_an_engine_of_another_kind(engine, scenes, tmp_path, kind, content):
    import hashlib

    engine.write_bytes(content)
    told = sidecar(engine) | {"kind": kind, "engine_sha256": hashlib.sha256(content).hexdigest()}
    engine.with_name("copy.engine.json").write_text(json.dumps(told))
    with pytest.raises(DataError, match=r"copy\.engine"):
        support.evaluate_engine(scenes / "test", engine, tmp_path)


def test_a_sidecar_of_another_engine(engine, scenes, tmp_path):
    engine.write_bytes(engine.read_bytes() + b"\0")
    with pytest.raises(DataError, match="another file"):
        support.evaluate_engine(scenes / "test", engine, tmp_path)


def test_an_engine_without_its_sidecar_is_taken_for_tensorrt(engine, scenes, tmp_path):
    engine.with_name("copy.engine.json").unlink()
    with pytest.raises(EnvironmentFault, match=r"no copy\.engine\.json, so it is taken"):
        support.evaluate_engine(scenes / "test", engine, tmp_path)
    with pytest.raises(DataError, match=r"no file .*absent"):
        support.evaluate_engine(scenes / "test", tmp_path / "absent.engine", tmp_path)


def test_an_onnx_file_given_as_engine(scenes, detector_onnx, tmp_path):
    score = support.evaluate_engine(scenes / "test", detector_onnx, tmp_path)
    assert (score["hmean"], score["backend"]) == (1, "onnxruntime")
