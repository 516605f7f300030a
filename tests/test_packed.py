"""Packed networks: they compute what they were packed from, and training starts from them."""

from __future__ import annotations

import cv2
import numpy as np
import onnx
import pytest
import torch

import support
from ocdnet.backends.onnx import OnnxPredictor
from ocdnet.backends.open import open_engine
from ocdnet.backends.sidecar import read_engine
from ocdnet.backends.torch import TorchPredictor
from ocdnet.config.model import ModelConfig
from ocdnet.detector import Detector
from ocdnet.errors import DataError
from ocdnet.models.factory import build_model
from ocdnet.onnx_file import load_whole
from ocdnet.weights import load_pretrained, read_checkpoint
from ocdnet.zoo.registry import Suggested
from packing import pack

SUGGESTED = Suggested(size=(160, 160), box_thresh=0.45, unclip_ratio=1.7)
pytestmark = pytest.mark.usefixtures("small_network")


@pytest.fixture(scope="module")
def packed(detector, tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "small.onnx"
    with pytest.MonkeyPatch.context() as patch:
        support.shrink_network(patch)
        pack(detector, path, SUGGESTED)
    return path


@pytest.fixture
def images(scenes):
    (first, *_) = sorted((scenes / "test" / "img").iterdir())
    picture = cv2.resize(cv2.imread(str(first)), (160, 160)).transpose(2, 0, 1)
    return (picture[None].astype(np.float32) - 110) / 255


def torch_maps(path, images):
    return TorchPredictor(path, None, torch.device("cpu"))(images)


def test_it_is_small_and_computes_what_it_was_packed_from(packed, detector, images, detector_onnx):
    weights = sum(value.numel() for value in read_checkpoint(detector).weights.values())
    assert packed.stat().st_size < 0.75 * 4 * weights  # of a large network a quarter
    maps = OnnxPredictor(packed)(images)
    assert maps.max() > 0.8
    assert np.abs(maps - torch_maps(detector, images)).mean() < 0.01
    assert np.abs(maps - torch_maps(packed, images)).max() < 1e-4


def test_pictures_of_any_size_and_number(packed):
    assert OnnxPredictor(packed)(np.zeros((3, 3, 64, 96), np.float32)).shape == (3, 64, 96)


def test_it_brings_its_thresholds_and_engines_keep_them(packed, tmp_path):
    for backend in ("onnxruntime", "openvino"):
        engine = tmp_path / f"{backend}.engine"
        support.build_engine(packed, engine, f"gen_trt_engine.backend={backend}")
        assert read_engine(engine).suggested == SUGGESTED.thresholds
        for model in (packed, engine):
            found = Detector(model).postprocess
            assert (found.box_thresh, found.unclip_ratio) == (0.45, 1.7)
            assert Detector(model, box_thresh=0.3).postprocess.box_thresh == 0.3


def test_an_engine_of_it_is_a_float_one(packed, tmp_path, images):
    support.build_engine(packed, tmp_path / "e.onnx")
    written = onnx.load(tmp_path / "e.onnx").graph
    assert not [node for node in written.node if node.op_type == "DequantizeLinear"]
    predictor = open_engine(tmp_path / "e.onnx")
    assert np.abs(predictor(images) - OnnxPredictor(packed)(images)).max() < 1e-4


def test_a_training_starts_from_all_of_it(packed, detector):
    model = build_model(ModelConfig())
    report = load_pretrained(model, read_checkpoint(packed), "deformable_resnet18")
    assert not (report.missing or report.unexpected or report.mismatched)
    trained = read_checkpoint(detector).weights
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            step = trained[key].abs().max() / 127 if value.ndim > 1 else 1e-6
            assert (value - trained[key]).abs().max() <= step, key


def test_training_from_its_file(packed, scenes, tmp_path):
    given = f"model.pretrained_model_path={packed}"
    support.train(scenes, tmp_path, given, "train.num_epochs=1")
    start = read_checkpoint(tmp_path / "train" / "ocd_model_latest.pth").start
    assert start["weights"] == str(packed)


def test_an_exported_file_is_no_start(detector_onnx):
    with pytest.raises(DataError) as raised:
        read_checkpoint(detector_onnx)
    assert raised.value.code == "not-packed"


def spoilt(packed, tmp_path, change):
    model = onnx.load(packed)
    change(model)
    onnx.save(model, tmp_path / "spoilt.onnx")
    return tmp_path / "spoilt.onnx"


def _cut_weights(model):
    tensor = next(one for one in model.graph.initializer if one.data_type == onnx.TensorProto.INT8)
    tensor.raw_data = tensor.raw_data[:-3]


def _lose_a_scale(model):
    scale = next(one for one in model.graph.initializer if one.name.endswith(".weight_scale"))
    model.graph.initializer.remove(scale)


def _other_axis(model):
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear":
            node.attribute[0].i = 7


def _no_spec(model):
    for one in model.metadata_props:
        if one.key == "ocdnet.spec":
            one.value = "[{"


@pytest.mark.parametrize("change", [_cut_weights, _lose_a_scale, _other_axis, _no_spec])
def test_a_spoilt_one_is_refused(packed, tmp_path, change):
    with pytest.raises(DataError) as raised:
        read_checkpoint(spoilt(packed, tmp_path, change))
    assert "spoilt.onnx" in str(raised.value)


def test_so_is_one_that_was_cut_off(packed, tmp_path):
    (tmp_path / "cut.onnx").write_bytes(packed.read_bytes()[:9000])
    for read in (read_checkpoint, Detector):
        with pytest.raises(DataError):
            read(tmp_path / "cut.onnx")


def test_constants_that_only_a_branch_uses_stay(packed, tmp_path):
    """Of another trainer's graph; so does what is stored in blocks, which is no packed weight."""

    def change(model):
        extra = onnx.numpy_helper.from_array(np.ones(3, np.float32), "of_a_branch")
        model.graph.initializer.append(extra)

    whole = load_whole(spoilt(packed, tmp_path, change))
    assert "of_a_branch" in {one.name for one in whole.graph.initializer}
    assert not any(node.op_type == "DequantizeLinear" for node in whole.graph.node)

    def in_blocks(model):
        for node in model.graph.node:
            if node.op_type == "DequantizeLinear":
                node.attribute.append(onnx.helper.make_attribute("block_size", 16))

    kept = load_whole(spoilt(packed, tmp_path, in_blocks))
    assert any(node.op_type == "DequantizeLinear" for node in kept.graph.node)


@pytest.mark.parametrize("value", ["2", "nan", "much"])
def test_thresholds_that_cannot_be_are_left_out(packed, tmp_path, value):
    def change(model):
        for one in model.metadata_props:
            if one.key == "ocdnet.suggested.box_thresh":
                one.value = value

    assert Detector(spoilt(packed, tmp_path, change)).postprocess.box_thresh == 0.55
