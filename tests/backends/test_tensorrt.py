"""TensorRT's path, with a typed fake in place of NVIDIA's packages: all of it but their numbers."""

from __future__ import annotations

import json
import logging

import numpy as np
import onnx
import pytest

import support
from backends import fake_tensorrt as fake
from ocdnet.backends.open import open_engine
from ocdnet.errors import DataError, EnvironmentFault, RunError

pytestmark = pytest.mark.usefixtures("small_network")

PROFILE = (
    "gen_trt_engine.tensorrt.min_batch_size=2",
    "gen_trt_engine.tensorrt.opt_batch_size=3",
    "gen_trt_engine.tensorrt.max_batch_size=4",
)


@pytest.fixture(params=["10.16.1.11", "11.4.0.106"])
def tensorrt(request, monkeypatch):
    fake.install(monkeypatch, request.param)
    return request.param


@pytest.fixture
def newest(monkeypatch):
    fake.install(monkeypatch)


def sidecar(path):
    return json.loads(path.with_name(f"{path.name}.json").read_text())


def test_auto_takes_it_and_the_engine_scores_as_its_checkpoint(
    tensorrt, scenes, detector, detector_onnx, tmp_path
):
    path = tmp_path / "detector.engine"
    built = support.build_engine(detector_onnx, path, *PROFILE)
    assert (built["backend"], built["without_effect"]) == ("tensorrt", [])
    assert built["note"].startswith("A TensorRT engine")
    told = sidecar(path)
    assert told["versions"]["tensorrt"] == tensorrt
    assert told["batch"] == {"min": 2, "opt": 3, "max": 4}
    hard, data = "evaluate.post_processing.args.box_thresh=0.97", scenes / "train"
    want = support.evaluate(data, detector, tmp_path / "want", hard)
    got = support.evaluate_engine(data, path, tmp_path / "got", hard, "evaluate.batch_size=3")
    assert want["hmean"] < 1
    assert abs(got["hmean"] - want["hmean"]) <= 0.002
    assert got["backend"] == "tensorrt"


def test_what_the_builder_is_told(newest, detector_onnx, tmp_path):
    timing = tmp_path / "timing.cache"
    given = (f"gen_trt_engine.timing_cache={timing}", "gen_trt_engine.tensorrt.workspace_size=2048")
    support.build_engine(detector_onnx, tmp_path / "a.engine", *PROFILE, *given)
    config = fake.Builder.last
    assert config._flags == set()  # no TF32: FP32 means FP32
    assert config._pools == {fake.MemoryPoolType.WORKSPACE: 2048 << 20}
    (profile,) = config._profiles
    assert [list(s) for s in profile._shapes["input"]] == [[n, 3, 160, 160] for n in (2, 3, 4)]
    assert timing.read_bytes() == b"timings of this GPU"
    timing.write_bytes(b"timings that are known")
    support.build_engine(detector_onnx, tmp_path / "b.engine", *PROFILE, *given)
    assert timing.read_bytes() == b"timings that are known"


def test_timings_of_another_gpu(newest, detector_onnx, tmp_path, caplog):
    timing = tmp_path / "timing.cache"
    timing.write_bytes(b"of another GPU")
    given = f"gen_trt_engine.timing_cache={timing}"
    support.build_engine(detector_onnx, tmp_path / "a.engine", given)
    assert "started anew" in caplog.text
    assert timing.read_bytes() == b"timings of this GPU"


def test_messages_go_to_the_log_and_not_to_stdout(newest, detector_onnx, tmp_path, caplog, capsys):
    caplog.set_level(logging.INFO, "ocdnet")
    support.build_engine(detector_onnx, tmp_path / "a.engine")
    assert "tactics" not in caplog.text
    support.build_engine(detector_onnx, tmp_path / "b.engine", "gen_trt_engine.verbose=true")
    assert "TensorRT: tactics are timed" in caplog.text
    assert capsys.readouterr().out == ""


def test_precision_is_in_the_onnx(newest, scenes, detector_onnx, tmp_path):
    """The network that TensorRT gets is in half precision, or holds Q/DQ, with float32 outside."""
    calibration = "gen_trt_engine.tensorrt.calibration"
    int8 = (
        f"{calibration}.cal_image_dir=[{scenes}/train/img]",
        f"{calibration}.cal_cache_file={tmp_path}/cal.cache",
        f"{calibration}.cal_batches=2",
    )
    for precision, more in (("FP16", ()), ("INT8", int8)):
        path = tmp_path / f"{precision}.engine"
        kind = f"gen_trt_engine.tensorrt.data_type={precision}"
        support.build_engine(detector_onnx, path, kind, *more)
        model = path.read_bytes().removeprefix(fake.MAGIC).partition(b"\n")[2]
        graph = onnx.load_from_string(model).graph
        assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        assert graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        weights = {constant.data_type for constant in graph.initializer}
        if precision == "FP16":
            assert onnx.TensorProto.FLOAT16 in weights
        else:
            assert [n.op_type for n in graph.node].count("QuantizeLinear") > 5
            # Zero points of 0: TensorRT takes symmetric int8 alone.
            assert onnx.TensorProto.UINT8 not in weights
        assert support.evaluate_engine(scenes / "test", path, tmp_path / "e")["hmean"] == 1


@pytest.mark.parametrize("version", ["10.0.1", "9.3.0", "8.6.1"])
def test_too_old_for_deformable_convolutions(monkeypatch, detector_onnx, tmp_path, version, caplog):
    fake.install(monkeypatch, version)
    asked = "gen_trt_engine.backend=tensorrt"
    with pytest.raises(EnvironmentFault) as caught:
        support.build_engine(detector_onnx, tmp_path / "a.engine", asked)
    assert (caught.value.got, caught.value.expected) == (version, "TensorRT 10.1 or newer")
    assert not (tmp_path / "a.engine").exists()
    # By itself it goes on with another runtime, and says so.
    result = support.build_engine(detector_onnx, tmp_path / "b.engine")
    assert result["backend"] == "onnxruntime"
    assert version in result["why"]


def plain(path):
    """A detector without deformable convolutions."""
    from onnx import TensorProto, helper

    from ocdnet.data.preprocess import Preprocess

    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Sigmoid", ["mean"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 160, 160])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1, 160, 160])
    graph = helper.make_graph(nodes, "plain", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, Preprocess((160, 160)).to_metadata())
    onnx.save(model, path)
    return path


def test_tensorrt_10_0_builds_other_networks(monkeypatch, tmp_path):
    fake.install(monkeypatch, "10.0.1")
    result = support.build_engine(plain(tmp_path / "plain.onnx"), tmp_path / "a.engine")
    assert result["backend"] == "tensorrt"
    fake.install(monkeypatch, "8.6.1")
    asked = "gen_trt_engine.backend=tensorrt"
    with pytest.raises(EnvironmentFault, match=r"TensorRT 10\.0 or newer"):
        support.build_engine(tmp_path / "plain.onnx", tmp_path / "b.engine", asked)


def test_no_gpu(monkeypatch, detector_onnx, tmp_path):
    fake.install(monkeypatch, gpus=0)
    with pytest.raises(EnvironmentFault, match="does not have the GPU"):
        support.build_engine(
            detector_onnx, tmp_path / "a.engine", "gen_trt_engine.backend=tensorrt"
        )
    result = support.build_engine(detector_onnx, tmp_path / "b.engine")
    assert (result["backend"], "GPU" in result["why"]) == ("onnxruntime", True)
    fake.install(monkeypatch, gpus=1)  # another GPU than what is there is a demand
    with pytest.raises(EnvironmentFault, match="GPU 3"):
        support.build_engine(detector_onnx, tmp_path / "c.engine", "gen_trt_engine.gpu_id=3")


def test_a_build_that_fails(newest, monkeypatch, detector_onnx, tmp_path):
    monkeypatch.setattr(fake.Builder, "fails", True)
    with pytest.raises(RunError) as caught:
        support.build_engine(detector_onnx, tmp_path / "a.engine")
    assert caught.value.got == ["no tactic fits in the workspace"]
    assert "workspace_size" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["gen_trt_engine"]


@pytest.fixture
def bare(newest, detector_onnx, tmp_path):
    """An engine as TAO's tools leave it: without a JSON file."""
    path = tmp_path / "bare.engine"
    support.build_engine(detector_onnx, path, *PROFILE)
    path.with_name("bare.engine.json").unlink()
    return path


def test_an_engine_of_taos_own_tools(bare, scenes, tmp_path, caplog):
    score = support.evaluate_engine(scenes / "test", bare, tmp_path)
    assert (score["hmean"], score["backend"]) == (1, "tensorrt")
    assert "assumed to be made as TAO makes it" in caplog.text
    for given, values in (
        ("evaluate.batch_size=5", ("5", "4 at most")),
        ("dataset.validate_dataset.args.pre_processes.0.args.short_size=[192,160]", ("192", "160")),
    ):
        with pytest.raises(DataError) as caught:
            support.evaluate_engine(scenes / "test", bare, tmp_path, given)
        assert all(value in str(caught.value) for value in values)


def test_small_batches_are_filled_up_to_the_profile(bare, detector_onnx):
    from ocdnet.backends.onnx import OnnxPredictor

    engine, reference = open_engine(bare), OnnxPredictor(detector_onnx)
    rng = np.random.default_rng(0)
    for count in (1, 2, 4):
        images = rng.uniform(-0.5, 0.5, (count, 3, 160, 160)).astype(np.float32)
        np.testing.assert_allclose(engine(images), reference(images), atol=1e-5)


def test_a_file_that_is_no_plan(bare, scenes, tmp_path):
    bare.write_bytes(b"something else")
    with pytest.raises(DataError) as caught:
        support.evaluate_engine(scenes / "test", bare, tmp_path)
    assert (caught.value.code, caught.value.got) == ("bad-engine", "magicTag does not match")
    assert "gen_trt_engine" in caught.value.hint


def test_no_gpu_memory_is_kept_by_building(newest, detector_onnx, tmp_path):
    before = len(fake.MEMORY)
    support.build_engine(detector_onnx, tmp_path / "a.engine")
    assert len(fake.MEMORY) == before
