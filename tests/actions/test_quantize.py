"""quantize: really smaller, really int8, nearly as good; and what it refuses."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import support
from ocdnet import install
from ocdnet.backends.onnx import OnnxPredictor
from ocdnet.backends.torch import TorchPredictor
from ocdnet.config import spec
from ocdnet.config.model import ModelConfig
from ocdnet.errors import DataError, EnvironmentFault, UserError
from ocdnet.runs.typed import to_json
from ocdnet.weights import read_checkpoint

pytestmark = pytest.mark.usefixtures("small_network")
CPU = torch.device("cpu")
OTHER = ["quantize.backend=modelopt.onnx"]
IMAGES = "dataset.quant_calibration_dataset.images_dir=no/such/folder"
SIZE = (
    f"dataset.validate_dataset.args.pre_processes.0.args.short_size=[{support.SIDE},{support.SIDE}]"
)


def quantize(model, out, *more):
    from ocdnet.actions import quantize as action

    given = [f"results_dir={out}", f"quantize.model_path={model}", SIZE, *more]
    return to_json(action.run(spec.load("quantize", None, given)))


def through_onnx(model, scenes, out, *more):
    folder = f"dataset.quant_calibration_dataset.images_dir={scenes}/train/img"
    return quantize(model, out, "quantize.backend=modelopt.onnx", folder, *more)


@pytest.fixture(scope="module")
def quantized(scenes, detector, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        support.shrink_network(patch)
        out = tmp_path_factory.mktemp("quantized")
        return quantize(detector, out, f"dataset.validate_dataset.data_path=[{scenes}/test]")


def images(number=2):
    shape = (number, 3, support.SIDE, support.SIDE)
    return np.random.default_rng(0).random(shape, np.float32) - 0.4


def test_weights_of_torchao(quantized, detector):
    """A quarter of the size, other numbers than float's, and nearly the same maps."""
    before, after = quantized["before"], quantized["after"]
    assert after["megabytes"] < 0.3 * before["megabytes"]
    path = Path(quantized["quantized_model"])
    assert path.name == "quantized_model_torchao.pth"
    assert path.stat().st_size < 1e6 * after["megabytes"] + 100_000  # names, spec, zip
    assert before["hmean"] == 1.0
    assert after["hmean"] == pytest.approx(1.0, abs=0.01)
    left, right = (TorchPredictor(p, ModelConfig(), CPU)(images()) for p in (detector, path))
    assert 0 < np.abs(left - right).max() < 0.1
    assert "not time" in quantized["note"]
    assert "ocdnet gen_trt_engine" in quantized["note"]
    written = json.loads(Path(quantized["results"]).read_text())
    assert written == quantized


def test_the_file_holds_int8_and_plain_values(quantized):
    content = support.load(quantized["quantized_model"])
    state = content["state_dict"]
    kernels = {k: v for k, v in state.items() if k.endswith(".weight") and v.ndim > 1}
    assert {value.dtype for value in kernels.values()} == {torch.int8}
    assert all(f"{key}_scale" in state for key in kernels)
    assert quantized["layers"] == {"quantized": len(kernels), "left": []}
    for key, value in kernels.items():
        assert value.abs().max() == 127, key  # the whole range is used


def test_evaluate_inference_and_export_take_it(quantized, scenes, tmp_path):
    path = Path(quantized["quantized_model"])
    scored = support.evaluate(scenes / "test", path, tmp_path)
    assert scored["hmean"] == quantized["after"]["hmean"]
    assert support.infer(scenes / "test/img", path, tmp_path)["boxes"] > 0
    support.export(path, tmp_path / "q.onnx")
    left = TorchPredictor(path, ModelConfig(), CPU)(images())
    np.testing.assert_allclose(OnnxPredictor(tmp_path / "q.onnx")(images()), left, atol=1e-4)


def test_training_may_start_from_it(quantized, scenes, tmp_path):
    start = f"model.pretrained_model_path={quantized['quantized_model']}"
    trained = support.train(scenes, tmp_path, start, "train.num_epochs=1")
    weights = support.load(trained["best_checkpoint"])["state_dict"].values()
    assert torch.int8 not in {value.dtype for value in weights}


def test_layers_and_names(detector, tmp_path):
    told = quantize(detector, tmp_path, "quantize.skip_names=[head.*]")
    assert told["layers"]["left"]
    assert all(name.startswith("head.") for name in told["layers"]["left"])
    one = "quantize.layers=[{module_name: neck.out2, weights: {dtype: int8}}]"
    assert quantize(detector, tmp_path / "one", one)["layers"]["quantized"] == 1
    kind = "quantize.layers=[{module_name: ConvTranspose2d, weights: {dtype: native}}]"
    left = quantize(detector, tmp_path / "kind", kind)["layers"]["left"]
    assert left
    assert all(name.startswith("head.") for name in left)
    with pytest.raises(DataError, match="No layer is left"):
        quantize(detector, tmp_path / "none", "quantize.skip_names=['*']")


@pytest.mark.skipif(find_spec("modelopt") is not None, reason="modelopt's writes float weights")
def test_an_onnx_becomes_int8(detector_onnx, scenes, tmp_path):
    told = through_onnx(
        detector_onnx, scenes, tmp_path, f"dataset.validate_dataset.data_path=[{scenes}/test]"
    )
    assert told["mode"] == "static_ptq"
    assert (told["before"]["hmean"], told["after"]["hmean"]) == (1.0, pytest.approx(1.0, abs=0.01))
    assert told["after"]["megabytes"] < told["before"]["megabytes"]
    path = Path(told["quantized_model"])
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load(path).graph.node)
    scored = support.evaluate(scenes / "test", path, tmp_path)
    assert scored["hmean"] == told["after"]["hmean"]


@pytest.mark.parametrize(
    ("which", "more", "code"),
    [
        ("onnx", [], "wrong-model-file"),
        ("pth", [*OTHER, IMAGES], "wrong-model-file"),
        ("pth", ["quantize.mode=static_ptq"], "no-static-torchao"),
        ("pth", ["quantize.backend=modelopt.pytorch"], "missing-package"),
        ("pth", ["quantize.algorithm=entropy"], "conflict"),
        ("onnx", [*OTHER, IMAGES, "quantize.algorithm=awq_lite"], "conflict"),
        ("onnx", [*OTHER, IMAGES], "no-such-folder"),
        ("pth", ["quantize.layers=[{module_name: a, weights: {dtype: fp8}}]"], "bad-layer"),
        ("pth", ["quantize.layers=[{weights: {dtype: int8}}]"], "bad-layer"),
        ("pth", ["quantize.backend_kwargs={granularity: 3}"], "bad-argument"),
        ("pth", ["quantize.device=cuda:7"], "no-such-gpu"),
        ("onnx", OTHER, "missing-value"),
        ("absent", [], "no-model"),
        ("damaged", [], "bad-checkpoint"),
    ],
)
def test_what_is_refused(detector, detector_onnx, tmp_path, which, more, code):
    (tmp_path / "damaged.pth").write_bytes(b"nothing")
    files = {
        "pth": detector,
        "onnx": detector_onnx,
        "absent": tmp_path / "absent.pth",
        "damaged": tmp_path / "damaged.pth",
    }
    with pytest.raises(UserError) as raised:
        quantize(files[which], tmp_path / "out", *more)
    error = raised.value
    assert error.code == code
    assert error.exit_code in (3, 4, 5)
    assert error.hint or error.expected
    assert not list(tmp_path.glob("out/quantize/*.pth"))
    assert not list(tmp_path.glob("out/quantize/*.onnx"))
    assert support.leftovers(tmp_path) == []


def test_no_layer_of_an_onnx_is_left(detector_onnx, scenes, tmp_path):
    with pytest.raises(DataError, match="No layer is left"):
        through_onnx(detector_onnx, scenes, tmp_path, "quantize.skip_names=['*']")
    assert not list(tmp_path.glob("quantize/*.onnx"))


def test_a_quantized_file_is_not_quantized_again(quantized, tmp_path):
    with pytest.raises(DataError) as raised:
        quantize(quantized["quantized_model"], tmp_path)
    assert raised.value.code == "already-quantized"


def test_a_weight_without_its_scale(quantized, tmp_path):
    content = support.load(quantized["quantized_model"])
    del content["state_dict"]["neck.out2.weight_scale"]
    torch.save(content, tmp_path / "hole.pth")
    with pytest.raises(DataError, match=r"neck\.out2\.weight has no scale"):
        read_checkpoint(tmp_path / "hole.pth")


@pytest.mark.parametrize(
    ("backend", "extra"), [("torchao", "quantize"), ("modelopt.pytorch", "modelopt")]
)
def test_what_is_missing_is_named(detector, tmp_path, monkeypatch, backend, extra):
    monkeypatch.setattr(install, "find_spec", lambda _: None)
    with pytest.raises(EnvironmentFault) as raised:
        quantize(detector, tmp_path, f"quantize.backend={backend}")
    assert f"[{extra}]" in raised.value.hint


def test_validation_images_that_cannot_be_read_leave_no_model(detector, scenes, tmp_path):
    data = support.copied(scenes / "test", tmp_path / "data")
    next((data / "img").iterdir()).write_bytes(b"no image")
    with pytest.raises(DataError, match="Cannot read"):
        quantize(detector, tmp_path, f"dataset.validate_dataset.data_path=[{data}]")
    written = {path.name for path in (tmp_path / "quantize").iterdir()}
    assert written == {".ocdnet_files.jsonl", "experiment.yaml", "status.json"}


class TestWithModelopt:
    """NVIDIA's modelopt is no requirement of ours: these run where it is installed."""

    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("modelopt")

    @pytest.mark.parametrize("mode", ["weight_only_ptq", "static_ptq"])
    def test_a_checkpoint(self, detector, scenes, tmp_path, mode):
        told = quantize(
            detector,
            tmp_path,
            "quantize.backend=modelopt.pytorch",
            f"quantize.mode={mode}",
            f"dataset.quant_calibration_dataset.images_dir={scenes}/train/img",
            f"dataset.validate_dataset.data_path=[{scenes}/test]",
        )
        assert told["after"]["hmean"] == pytest.approx(1.0, abs=0.01)
        assert told["after"]["megabytes"] < 0.9 * told["before"]["megabytes"]
        path = Path(told["quantized_model"])
        assert path.name == "quantized_model_modelopt.pth"
        state = support.load(path)["state_dict"]
        scales = [key for key in state if key.endswith(".input_scale")]
        assert bool(scales) == (mode == "static_ptq")
        left, right = (TorchPredictor(p, ModelConfig(), CPU)(images()) for p in (detector, path))
        assert 0 < np.abs(left - right).max() < 0.35
        scored = support.evaluate(scenes / "test", path, tmp_path)
        assert scored["hmean"] == told["after"]["hmean"]

    def test_an_onnx(self, detector_onnx, scenes, tmp_path):
        given = f"dataset.validate_dataset.data_path=[{scenes}/test]"
        told = through_onnx(detector_onnx, scenes, tmp_path, given)
        assert "nvidia-modelopt" in told["note"]
        assert told["after"]["hmean"] == pytest.approx(1.0, abs=0.01)
        assert {"head.binarize.3", "head.binarize.6"} <= set(told["layers"]["left"])
        model = onnx.load(told["quantized_model"])
        assert any(node.op_type == "QuantizeLinear" for node in model.graph.node)
        assert any(prop.key.startswith("ocdnet.") for prop in model.metadata_props)
