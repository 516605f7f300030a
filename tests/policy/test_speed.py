"""A plan says what an engine will be built for on this machine, and what 8-bit numbers cost."""

import pytest

from ocdnet import engines, hardware
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.policy.request import Request
from plans import build

SKILL = Skill(skill_dir())
BACKEND = "gen_trt_engine.backend"
PREFIX = "gen_trt_engine.tensorrt.calibration."


def warnings(action, *overrides, **given):
    request = Request(action=action, overrides=overrides, **given)
    return build(request, SKILL, "ocdnet")["warnings"]


def about(told, *words):
    return [warning for warning in told if all(word in warning for word in words)]


@pytest.fixture
def machine(monkeypatch):
    """A machine that has these modules, and a GPU or none."""

    def has(*modules, gpu=False):
        monkeypatch.setattr(engines, "_has", modules.__contains__)
        monkeypatch.setattr(hardware, "gpus", lambda: int(gpu))

    return has


class TestEngines:
    def test_without_tensorrt_the_plan_names_what_is_built_instead(self, machine):
        machine("onnxruntime", "openvino")
        (told,) = about(warnings("gen_trt_engine"), "TensorRT is not here")
        assert "no package tensorrt" in told
        assert "no NVIDIA GPU" in told
        assert "for ONNX Runtime" in told
        assert f"{BACKEND}=openvino" in told

    def test_tensorrt_without_a_gpu_does_not_work_either(self, machine):
        machine("tensorrt", "cuda.bindings", "onnxruntime")
        assert about(warnings("gen_trt_engine"), "no NVIDIA GPU", "for ONNX Runtime")

    def test_with_tensorrt_and_a_gpu_nothing_is_told(self, machine):
        machine("tensorrt", "cuda.bindings", "onnxruntime", gpu=True)
        for override in (f"{BACKEND}=auto", f"{BACKEND}=tensorrt", "gen_trt_engine.gpu_id=1"):
            assert not about(warnings("gen_trt_engine", override), "is not here")

    @pytest.mark.parametrize("override", [f"{BACKEND}=tensorrt", "gen_trt_engine.gpu_id=1"])
    def test_tensorrt_asked_for_where_there_is_none_will_fail(self, machine, override):
        machine("onnxruntime", "openvino")
        (told,) = about(warnings("gen_trt_engine", override), "the build will fail")
        assert "ocdnet[tensorrt]" in told

    @pytest.mark.parametrize(
        ("kind", "extra"), [("openvino", "openvino"), ("onnxruntime", "deploy")]
    )
    def test_so_will_any_other_that_is_missing(self, machine, kind, extra):
        machine("tensorrt", "cuda.bindings", gpu=True)
        (told,) = about(warnings("gen_trt_engine", f"{BACKEND}={kind}"), "the build will fail")
        assert f"ocdnet[{extra}]" in told
        machine("openvino", "onnxruntime")
        assert not about(warnings("gen_trt_engine", f"{BACKEND}={kind}"), "not here")

    @pytest.mark.parametrize("platform", ["docker", "tao-docker", "slurm", "kubernetes"])
    def test_of_other_machines_nothing_is_said(self, machine, platform):
        machine()
        assert not about(warnings("gen_trt_engine", platform=platform), "is not here")


class TestQuantize:
    @pytest.mark.parametrize("backend", ["torchao", "modelopt.onnx", "modelopt.pytorch"])
    def test_without_a_gpu_the_plan_names_what_is_fastest(self, machine, backend):
        machine()
        told = about(warnings("quantize", f"quantize.backend={backend}"), "There is no GPU here")
        assert "ocdnet plan --action gen_trt_engine --precision int8" in told[0]
        assert "openvino" in told[0]

    def test_with_a_gpu_or_elsewhere_it_does_not(self, machine):
        machine(gpu=True)
        assert not about(warnings("quantize"), "no GPU")
        machine()
        assert not about(warnings("quantize", platform="slurm"), "There is no GPU here")

    def test_what_torchao_refuses_is_told_before_it_runs(self):
        told = warnings("quantize", "quantize.mode=static_ptq")
        assert about(told, "static_ptq", "modelopt.onnx")
        static = ("quantize.mode=static_ptq", "quantize.backend=modelopt.pytorch")
        assert not about(warnings("quantize", *static), "will be refused")


@pytest.fixture
def photos(tmp_path):
    def folder(count):
        place = tmp_path / str(count)
        place.mkdir()
        for number in range(count):
            (place / f"{number}.jpg").touch()
        return str(place)

    return folder


class TestCalibrationImages:
    def test_the_number_that_is_read_counts_not_the_folder(self, photos):
        given = {"precision": "int8", "calibration_datasets": (photos(300),)}
        (told,) = about(warnings("gen_trt_engine", **given), "fewer than 100")
        assert "on 1 image," in told
        assert f"{PREFIX}cal_batches=100 reads more" in told

    @pytest.mark.parametrize(
        ("count", "size", "batches", "read"), [(20, 8, 50, 16), (99, 1, 200, 99), (300, 4, 5, 20)]
    )
    def test_few_are_told_with_their_number(self, photos, count, size, batches, read):
        sets = (f"{PREFIX}cal_batch_size={size}", f"{PREFIX}cal_batches={batches}")
        given = {"precision": "int8", "calibration_datasets": (photos(count),)}
        assert about(warnings("gen_trt_engine", *sets, **given), f"on {read} images, fewer")

    def test_a_hundred_are_enough(self, photos):
        given = {"precision": "int8", "calibration_datasets": (photos(100),)}
        told = warnings("gen_trt_engine", f"{PREFIX}cal_batches=100", **given)
        assert not about(told, "fewer than 100")

    def test_other_precisions_are_not_calibrated(self):
        for precision in ("fp32", "fp16"):
            assert not about(warnings("gen_trt_engine", precision=precision), "fewer than 100")

    def test_a_cache_that_is_there_is_read_instead(self, tmp_path, photos):
        cache = tmp_path / "cal.bin"
        cache.touch()
        given = {"precision": "int8", "calibration_datasets": (photos(3),)}
        told = warnings("gen_trt_engine", f"{PREFIX}cal_cache_file={cache}", **given)
        assert not about(told, "fewer than 100")

    def test_quantize_tells_of_few_too(self, photos):
        onnx = "quantize.backend=modelopt.onnx"
        given = {"calibration_datasets": (photos(3),)}
        assert about(warnings("quantize", onnx, **given), "on 3 images, fewer than 100")
        assert not about(warnings("quantize", **given), "fewer than 100")
