"""One file for pictures of any size: exported so, and as engines that take a range of sizes."""

from __future__ import annotations

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

import support
from backends import fake_tensorrt as fake
from ocdnet.backends.onnx import OnnxPredictor
from ocdnet.backends.open import check_fit, open_engine
from ocdnet.config.model import ModelConfig
from ocdnet.data.preprocess import Preprocess
from ocdnet.errors import DataError, SpecError
from ocdnet.models.factory import build_model

RANGE = ("gen_trt_engine.min_size=[96,64]", "gen_trt_engine.max_size=[320,256]")


@pytest.mark.usefixtures("small_network")
def test_an_export_of_any_size(tmp_path):
    torch.manual_seed(0)
    torch.save({"state_dict": build_model(ModelConfig()).state_dict()}, tmp_path / "model.pth")
    result = support.export(
        tmp_path / "model.pth", tmp_path / "any.onnx", "export.dynamic_size=true"
    )
    assert result["input"]["shape"] == ["batch", 3, "height", "width"]
    assert result["max_difference"] < 1e-4
    (given,) = onnx.load(tmp_path / "any.onnx").graph.input
    named = [dim.dim_param or dim.dim_value for dim in given.type.tensor_type.shape.dim]
    assert named == ["batch", 3, "height", "width"]
    predictor = OnnxPredictor(tmp_path / "any.onnx")
    for height, width in ((32, 32), (64, 416), (352, 96)):
        images = np.zeros((2, 3, height, width), np.float32)
        assert predictor(images).shape == (2, height, width)
    check_fit(predictor, Preprocess((224, 96)), tmp_path / "any.onnx")


@pytest.fixture
def dark(tmp_path):
    """A network of any size whose map is what is dark."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Neg", ["mean"], ["minus"]),
        helper.make_node("Relu", ["minus"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1, "height", "width"])
    graph = helper.make_graph(nodes, "dark", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    given = Preprocess((160, 160)).to_metadata() | {
        "ocdnet.preprocess.mean": "255",
        "ocdnet.preprocess.divisor": "255",
    }
    helper.set_model_props(model, given)
    onnx.save(model, tmp_path / "dark.onnx")
    return tmp_path / "dark.onnx"


@pytest.mark.parametrize("kind", ["onnxruntime", "openvino", "tensorrt"])
def test_an_engine_takes_sizes_within_its_range(monkeypatch, dark, tmp_path, kind):
    if kind == "tensorrt":
        fake.install(monkeypatch)
    path = tmp_path / "detector.engine"
    built = support.build_engine(dark, path, f"gen_trt_engine.backend={kind}", *RANGE)
    assert built["input"]["shape"] == ["batch", 3, "height", "width"]
    predictor = open_engine(path)
    for size in ((96, 64), (160, 160), (320, 256)):
        fitted = check_fit(predictor, Preprocess(size), path)
        black = fitted.to_tensor([np.zeros((size[1], size[0], 3), np.uint8)])
        assert predictor(black).min() > 0.99
    for size in ((64, 64), (352, 256), (320, 288)):
        with pytest.raises(DataError, match=r"\[96, 64\] to \[320, 256\]"):
            check_fit(predictor, Preprocess(size), path)
    # Whatever a mode makes of a picture stays within the range.
    for width, height in ((4000, 100), (100, 4000), (5, 5)):
        for mode in ("fit", "auto", "tile"):
            fitted = check_fit(predictor, Preprocess((160, 160), resize=mode), path)
            made = fitted.prepare(np.zeros((height, width, 3), np.uint8)).image.shape
            assert 64 <= made[0] <= 256
            assert 96 <= made[1] <= 320
    folder = tmp_path / "images"
    folder.mkdir()
    cv2.imwrite(str(folder / "page.png"), page())
    for mode in ("auto", "tile"):
        given = ("inference.checkpoint=''", f"inference.trt_engine={path}")
        found = support.infer(folder, "", tmp_path / mode, *given, f"inference.resize={mode}")
        assert found["boxes"] == 12


def page():
    image = np.full((900, 200, 3), 255, np.uint8)
    for y in range(20, 880, 72):
        image[y : y + 24, 30:170] = 0
    return image


def test_a_range_needs_a_file_of_any_size(dark, tmp_path):
    model = onnx.load(dark)
    for value in (*model.graph.input, *model.graph.output):
        for dimension in value.type.tensor_type.shape.dim[2:]:
            dimension.dim_value = 160
    onnx.save(model, tmp_path / "fixed.onnx")
    with pytest.raises(DataError, match=r"export\.dynamic_size=true"):
        support.build_engine(tmp_path / "fixed.onnx", tmp_path / "a.engine", *RANGE)


@pytest.mark.parametrize(
    "given",
    [["min_size=[320,256]"], ["max_size=[96,96]"], ["min_size=[96]"], ["max_size=[330,330]"]],
)
def test_a_wrong_range_is_refused(dark, tmp_path, given):
    with pytest.raises(SpecError):
        support.build_engine(
            dark, tmp_path / "a.engine", *[f"gen_trt_engine.{one}" for one in given]
        )


def test_a_network_of_one_size_gets_padded_pictures(monkeypatch, dark, tmp_path):
    """An export as TAO makes it, and a tall page: fitted into that size, or in tiles of it."""
    path = tmp_path / "detector.engine"
    support.build_engine(dark, path, "gen_trt_engine.backend=onnxruntime")
    predictor = open_engine(path)
    fitted = check_fit(predictor, Preprocess((160, 160), resize="auto"), path)
    prepared = fitted.prepare(page())
    assert prepared.image.shape == (160, 160, 3)
    assert prepared.frame.size == (36, 160)


@pytest.mark.parametrize(
    ("mode", "score", "warned"),
    [(None, 0, ["aspect-changed"]), ("fit", 1, []), ("auto", 1, []), ("tile", 1, [])],
)
def test_evaluate_keeps_the_aspect_where_its_resize2d_says_so(dark, tmp_path, mode, score, warned):
    """A tall page whose lines flow into one another when it is squeezed."""
    for name in ("img", "gt"):
        (tmp_path / "pages" / name).mkdir(parents=True)
    picture = np.full((1600, 320, 3), 255, np.uint8)
    lines = []
    for y in range(30, 1560, 40):
        picture[y : y + 20, 60:260] = 0
        lines.append(f"60,{y},260,{y},260,{y + 20},60,{y + 20},word\n")
    cv2.imwrite(str(tmp_path / "pages/img/page.png"), picture)
    (tmp_path / "pages/gt/page.txt").write_text("".join(lines))
    steps = "dataset.validate_dataset.args.pre_processes"
    size = "[320, 1600]" if mode == "fit" else "[160, 160]"
    args = f"{{short_size: {size}" + (f", mode: {mode}}}" if mode else "}")
    given = (
        f"{steps}=[{{type: Resize2D, args: {args}}}]",
        "evaluate.post_processing.args.unclip_ratio=0.1",
    )
    result = support.evaluate(tmp_path / "pages", dark, tmp_path / "out", *given)
    assert result["resize"] == (mode or "stretch")
    assert [warning["code"] for warning in result["warnings"]] == warned
    assert round(result["hmean"]) == score
    if warned:
        assert result["warnings"][0]["key"] == steps


def test_validation_of_a_training_refuses_tiles(tmp_path):
    support.write_blocks(tmp_path / "train", 2, seed=0)
    steps = "dataset.validate_dataset.args.pre_processes"
    given = (
        f"dataset.validate_dataset.data_path=[{tmp_path}/train]",
        f"{steps}=[{{type: Resize2D, args: {{mode: tile}}}}]",
    )
    with pytest.raises(SpecError, match="tile"):
        support.train(tmp_path, tmp_path / "out", *given)
    assert not list((tmp_path / "out").rglob("*.pth"))
