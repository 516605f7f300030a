"""ONNX detectors of other trainers: fed as the file beside them says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

import support
from ocdnet.actions import inference
from ocdnet.backends.onnx import OnnxPredictor
from ocdnet.backends.open import open_predictor
from ocdnet.config import spec
from ocdnet.config.model import ModelConfig
from ocdnet.data.preprocess import Normalisation
from ocdnet.errors import DataError
from tiny_onnx import write_detector

pytestmark = pytest.mark.usefixtures("small_network")

MEAN, DIVISOR = (122.67891434, 116.66876762, 104.00698793), 255.0
ICDAR2015 = Path(__file__).parents[3] / "shared/data/icdar2015"


def changed(source, target, *, logits=False, extra=False, names=("input", "pred")):
    """The detector as another exporter would leave it: no metadata, free sizes."""
    model = onnx.load(source)
    del model.metadata_props[:]
    graph = model.graph
    if logits:
        last = next(node for node in graph.node if "pred" in node.output)
        assert last.op_type == "Sigmoid"
        rest = [node for node in graph.node if "pred" not in node.output]
        before = last.input[0]
        del graph.node[:]
        graph.node.extend([*rest, onnx.helper.make_node("Identity", [before], ["pred"])])
    if extra:
        graph.node.append(onnx.helper.make_node("Neg", ["pred"], ["other"]))
        shape = ["batch", 1, 160, 160]
        value = onnx.helper.make_tensor_value_info("other", onnx.TensorProto.FLOAT, shape)
        first = graph.output.pop()
        graph.output.extend([value, first])
    onnx.save(model, target)
    return target


def declare(path, **fields):
    """Write the file beside a model; TAO's numbers in the way that others write them."""
    said = {
        "img_mode": "BGR",
        "mean": [number / DIVISOR for number in MEAN],
        "std": [1, 1, 1],
        **fields,
    }
    path.with_name(f"{path.name}.json").write_text(json.dumps(said))


def test_the_same_network_as_a_foreign_one_scores_the_same(detector_onnx, scenes, tmp_path):
    want = support.evaluate(scenes / "test", detector_onnx, tmp_path / "want")
    for name, how, said in (
        ("plain", {}, {}),
        ("logits", {"logits": True}, {"logits": True}),
        ("second", {"extra": True}, {"output": 1}),
        ("named", {"extra": True}, {"output": "pred"}),
    ):
        path = changed(detector_onnx, tmp_path / f"{name}.onnx", **how)
        declare(path, **said)
        got = support.evaluate(scenes / "test", path, tmp_path / name)
        assert got["counts"] == want["counts"], name


def test_the_numbers_beside_it_are_used(detector_onnx, scenes, tmp_path):
    """With another mean the network sees other numbers, and finds other things."""
    path = changed(detector_onnx, tmp_path / "model.onnx")
    declare(path, mean=[0.9, 0.9, 0.9], std=[0.2, 0.2, 0.2])
    assert support.evaluate(scenes / "test", path, tmp_path)["hmean"] < 0.5
    declare(path, mean=[1, 2, 3], std=[4, 5, 6], scale=0.5)
    found = open_predictor(path, ModelConfig()).normalisation
    assert found == Normalisation((2, 4, 6), (8, 10, 12))


def test_its_engine_is_fed_the_same_way(detector_onnx, scenes, tmp_path):
    path = changed(detector_onnx, tmp_path / "model.onnx", logits=True)
    declare(path, logits=True)
    for kind in ("onnxruntime", "openvino"):
        engine = tmp_path / f"{kind}.engine"
        support.build_engine(path, engine, f"gen_trt_engine.backend={kind}")
        assert support.evaluate_engine(scenes / "test", engine, tmp_path / kind)["hmean"] == 1


@pytest.mark.parametrize(
    "said",
    [
        {"img_mode": "HSV"},
        {"std": [1, 0, 1]},
        {"std": [1, 1]},
        {"scale": 0},
        {"colour": "red"},
        {"output": 7},
        {"output": "absent"},
        {"mean": ["a", "b", "c"]},
    ],
)
def test_a_file_beside_it_that_makes_no_sense(detector_onnx, tmp_path, said):
    path = changed(detector_onnx, tmp_path / "model.onnx")
    declare(path, **said)
    with pytest.raises(DataError, match=r"model\.onnx"):
        open_predictor(path, ModelConfig())


def test_without_that_file_it_says_where_to_read(detector_onnx, tmp_path):
    with pytest.raises(DataError) as caught:
        OnnxPredictor(changed(detector_onnx, tmp_path / "model.onnx"))
    assert "foreign-models.md" in caught.value.hint


def test_networks_that_are_no_detectors(tmp_path):
    def saved(shape, out):
        x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
        y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
        node = onnx.helper.make_node(*out)
        graph = onnx.helper.make_graph([node], "g", [x], [y])
        opset = [onnx.helper.make_opsetid("", 13)]
        path = tmp_path / "model.onnx"
        onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)
        declare(path)
        return path

    with pytest.raises(DataError, match="only input"):
        OnnxPredictor(saved(["n", 4], ("Relu", ["x"], ["y"])))
    with pytest.raises(DataError, match="only input"):
        OnnxPredictor(saved(["n", 1, 64, 64], ("Relu", ["x"], ["y"])))
    predictor = OnnxPredictor(saved(["n", 3, "h", "w"], ("GlobalMaxPool", ["x"], ["y"])))
    with pytest.raises(DataError, match="does not return a map"):
        predictor(np.zeros((1, 3, 64, 64), np.float32))


@pytest.fixture(scope="module")
def ppocr(tmp_path_factory):
    """PP-OCR's detector out of the wheel on PyPI, and the file that the recipe gives it."""
    folder = tmp_path_factory.mktemp("ppocr")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, "rapidocr==3.10.0"], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("_det_small.onnx")]
        path = folder / "ppocr.onnx"
        path.write_bytes(archive.read(name))
    page = (Path(__file__).parents[2] / "references/foreign-models.md").read_text()
    path.with_name("ppocr.onnx.json").write_text(page.split("```json\n")[1].split("```")[0])
    return path


@pytest.mark.slow
def test_ppocr_reads_a_scene(ppocr, tmp_path):
    """Words drawn in black on white are each found where they are."""
    image = np.full((400, 640, 3), 255, np.uint8)
    places = {"HARBOUR": (40, 100), "STREET": (330, 220), "24 HOURS": (90, 340)}
    for word, origin in places.items():
        cv2.putText(image, word, origin, cv2.FONT_HERSHEY_SIMPLEX, 1.6, (0, 0, 0), 4)
    (tmp_path / "img").mkdir()
    cv2.imwrite(str(tmp_path / "img/sign.png"), image)
    overrides = [
        f"results_dir={tmp_path}",
        f"inference.checkpoint={ppocr}",
        f"inference.input_folder={tmp_path}/img",
        "inference.width=640",
        "inference.height=416",
        "inference.post_processing.args.unclip_ratio=1.6",
    ]
    inference.run(spec.load("inference", None, overrides))
    lines = (tmp_path / "inference/sign.txt").read_text().splitlines()
    found = [support.box_of(line)[0] for line in lines]
    assert len(found) in (3, 4)  # "24 HOURS" may be two
    for x, y in places.values():
        inside = [cv2.pointPolygonTest(quad, (x + 60.0, y - 15.0), False) for quad in found]
        assert max(inside) >= 0


@pytest.mark.slow
@pytest.mark.skipif(not ICDAR2015.exists(), reason="../shared/data/icdar2015 is not here")
def test_ppocr_on_icdar2015(ppocr, tmp_path):
    for folder, name in (("img", "img_{}.jpg"), ("gt", "gt_img_{}.txt")):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for number in range(1, 21):
            file = name.format(number)
            (tmp_path / "data" / folder / file).symlink_to(ICDAR2015 / "test" / folder / file)
    from ocdnet.actions import evaluate

    overrides = [
        f"results_dir={tmp_path}",
        f"evaluate.checkpoint={ppocr}",
        f"dataset.validate_dataset.data_path=[{tmp_path}/data]",
    ]
    # The wheel's own pre- and post-processing around the same file: 0.359 on these 20 images.
    assert evaluate.run(spec.load("evaluate", None, overrides)).hmean > 0.359


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_json_file_that_is_no_file_is_an_error_at_once(tmp_path, kind):
    model = write_detector(tmp_path / "m.onnx")
    beside = tmp_path / "m.onnx.json"
    beside.unlink()
    os.mkfifo(beside) if kind == "pipe" else beside.symlink_to("/dev/zero")
    with pytest.raises(DataError) as caught:
        open_predictor(model, ModelConfig(), 1, [0])
    assert caught.value.code == "bad-sidecar"
