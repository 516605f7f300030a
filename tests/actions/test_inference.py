"""Inference: boxes in pixels of the original image, and a set of files for every image."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import support
from ocdnet.actions import detection
from ocdnet.data.annotations import index_dataset
from ocdnet.errors import DataError, Exit, SpecError
from ocdnet.metrics import DetectionMetric

pytestmark = pytest.mark.usefixtures("small_network")

WIDTH, HEIGHT = 400, 100
"""Of the original image; the network sees 160x160."""


class Stub:
    """A predictor whose map is known: text where x is 40 to 99 and y 60 to 79."""

    backend = "stub"
    img_mode = size = normalisation = batch = None
    path = Path("stub.onnx")

    def __init__(self):
        self.batches = []

    def __call__(self, images):
        self.batches.append(images)
        maps = np.full((len(images), support.SIDE, support.SIDE), 0.05, np.float32)
        maps[:, 60:80, 40:100] = 0.9
        return maps


@pytest.fixture
def stub(monkeypatch):
    predictor = Stub()
    monkeypatch.setattr(detection, "open_predictor", lambda *_: predictor)
    return predictor


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    image = np.full((HEIGHT, WIDTH, 3), (250, 30, 10), np.uint8)  # blue
    cv2.imwrite(str(folder / "wide.png"), image)
    return folder


def boxes(path):
    return [support.box_of(line) for line in path.read_text().splitlines()]


def test_boxes_lie_in_the_original_image(stub, images, tmp_path):
    result = support.infer(images, "model.pth", tmp_path)
    assert (result["images"], result["boxes"]) == (1, 1)
    text = (tmp_path / "inference" / "wide.txt").read_text()
    assert len(text.strip().split(",")) == 9
    ((corners, score),) = boxes(tmp_path / "inference" / "wide.txt")
    assert score == pytest.approx(0.9, abs=1e-3)
    # The kernel is 59 x 19 from pixel centre to pixel centre; it grows by A r / L to every side.
    grown = 59 * 19 * 1.5 / (2 * (59 + 19))
    x, y = WIDTH / support.SIDE, HEIGHT / support.SIDE
    left, right, top, bottom = 40 - grown, 99 + grown, 60 - grown, 79 + grown
    expected = [[left * x, top * y], [right * x, top * y], [right * x, bottom * y]]
    expected.append([left * x, bottom * y])
    np.testing.assert_allclose(corners, expected, atol=2)  # whole pixels, and clipper's own


def test_pictures(stub, images, tmp_path):
    support.infer(images, "model.pth", tmp_path)
    folder = tmp_path / "inference"
    overlay = cv2.imread(str(folder / "wide_result.jpg"))
    assert overlay.shape == (HEIGHT, WIDTH, 3)
    ((corners, _),) = boxes(folder / "wide.txt")
    x, y = corners.mean(axis=0).astype(int)
    left = int(corners[0, 0])
    assert overlay[y, left, 2] > 150  # red on the outline
    assert overlay[y, x, 0] > 200  # the image itself inside
    probability = cv2.imread(str(folder / "wide_pred.jpg"), cv2.IMREAD_GRAYSCALE)
    assert probability.shape == (support.SIDE, support.SIDE)
    assert probability[70, 70] > 220
    assert probability[20, 20] < 30


@pytest.mark.parametrize("mode", ["BGR", "RGB"])
def test_the_image_mode(stub, images, tmp_path, mode):
    """The network gets the channels of the spec; the overlay keeps the colours of the file."""
    support.infer(images, "model.pth", tmp_path, f"inference.img_mode={mode}")
    (batch,) = stub.batches
    first, _, last = batch[0, :, 0, 0]
    assert (first > last) == (mode == "BGR")
    overlay = cv2.imread(str(tmp_path / "inference" / "wide_result.jpg"))
    blue, _, red = overlay[2, 2]
    assert blue > 200
    assert red < 60


@pytest.mark.parametrize(
    ("resize", "shape", "warned"),
    [
        ("stretch", (160, 160), ["aspect-changed"]),
        ("fit", (64, 160), []),
        ("auto", (128, 416), []),
        ("tile", (128, 160), []),
    ],
)
def test_the_aspect_is_kept_or_its_change_is_said(
    monkeypatch, images, tmp_path, resize, shape, warned
):
    class Dark(Stub):
        """Finds what is dark in its input."""

        def __call__(self, batch):
            self.batches.append(batch)
            return np.where(batch.min(axis=1) < -0.3, 0.9, 0.0).astype(np.float32)

    network = Dark()
    monkeypatch.setattr(detection, "open_predictor", lambda *_: network)
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    bar = cv2.boxPoints(((200, 50), (100, 14), 20.0))
    cv2.fillPoly(image, [np.rint(bar).astype(np.int32)], (0, 0, 0))
    cv2.imwrite(str(images / "wide.png"), image)
    result = support.infer(images, "model.pth", tmp_path, f"inference.resize={resize}")
    assert result["resize"] == resize
    assert [warning["code"] for warning in result["warnings"]] == warned
    assert {batch.shape[2:] for batch in network.batches} == {shape}
    ((corners, _),) = boxes(tmp_path / "inference" / "wide.txt")
    np.testing.assert_allclose(corners.mean(axis=0), (200, 50), atol=4)
    along, across = corners[1] - corners[0], corners[2] - corners[1]
    cosine = abs(along @ across) / np.linalg.norm(along) / np.linalg.norm(across)
    assert (cosine < 0.1) == (resize != "stretch")  # a rectangle stays one


def test_images_of_one_stem_are_kept_apart(stub, images, tmp_path):
    image = cv2.imread(str(images / "wide.png"))
    cv2.imwrite(str(images / "wide.jpg"), image)
    cv2.imwrite(str(images / "other.JPG"), image)
    assert support.infer(images, "model.pth", tmp_path)["images"] == 3
    written = {path.name for path in (tmp_path / "inference").glob("*.txt")}
    assert written == {"wide.png.txt", "wide.jpg.txt", "other.txt"}
    assert (tmp_path / "inference" / "wide.png_result.jpg").exists()


def test_polygons(stub, images, tmp_path):
    support.infer(images, "model.pth", tmp_path, "inference.polygon=true")
    ((corners, _),) = boxes(tmp_path / "inference" / "wide.txt")
    assert len(corners) > 4  # grown with round corners
    x, y, width, height = cv2.boundingRect(corners.astype(np.int32))
    assert (x, y) == pytest.approx((73, 31), abs=2)
    assert (width, height) == pytest.approx((202, 26), abs=3)


def test_nothing_found_is_an_empty_file(stub, images, tmp_path):
    support.infer(images, "model.pth", tmp_path, "inference.post_processing.args.box_thresh=0.95")
    assert (tmp_path / "inference" / "wide.txt").read_text() == ""


@pytest.mark.parametrize(("given", "batches"), [(-1, [1, 1, 1]), (2, [2, 1])])
def test_the_batch_size(stub, images, tmp_path, given, batches):
    for name in ("b.png", "c.png"):
        shutil.copy(images / "wide.png", images / name)
    support.infer(images, "model.pth", tmp_path, f"inference.batch_size={given}")
    assert [len(batch) for batch in stub.batches] == batches


@pytest.mark.parametrize("kind", ["pth", "onnx"])
def test_a_detector_finds_the_blocks(scenes, detector, detector_onnx, tmp_path, kind):
    path = detector if kind == "pth" else detector_onnx
    result = support.infer(scenes / "test" / "img", path, tmp_path)
    assert (result["images"], result["boxes"]) == (4, 8)
    metric = DetectionMetric()
    for annotation in index_dataset([str(scenes / "test")], ["###"]):
        found = boxes(tmp_path / "inference" / f"{annotation.image.stem}.txt")
        metric.update([box for box, _ in found], annotation.polygons, annotation.ignore)
    assert metric.counts.hmean == 1


def test_missing_and_empty_folders(stub, tmp_path):
    with pytest.raises(DataError) as caught:
        support.infer(tmp_path / "absent", "model.pth", tmp_path)
    assert (caught.value.exit_code, caught.value.got) == (Exit.DATA, str(tmp_path / "absent"))
    (tmp_path / "empty" / "img").mkdir(parents=True)
    with pytest.raises(DataError) as caught:
        support.infer(tmp_path / "empty", "model.pth", tmp_path)
    assert caught.value.code == "no-images"


def test_an_unreadable_image(stub, images, tmp_path):
    (images / "z.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"z\.jpg"):
        support.infer(images, "model.pth", tmp_path)
    assert support.status_lines(tmp_path / "inference")[-1]["status"] == "FAILURE"
    assert support.leftovers(tmp_path) == []


def test_an_onnx_of_another_size(scenes, detector_onnx, tmp_path):
    with pytest.raises(DataError) as caught:
        support.infer(scenes / "test" / "img", detector_onnx, tmp_path, "inference.width=192")
    assert "192" in str(caught.value)
    assert "width 160, height 160" in str(caught.value)


def test_an_unreadable_image_stops_it_unless_told_to_leave_it_out(stub, images, tmp_path):
    (images / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bad\.png"):
        support.infer(images, "model.pth", tmp_path / "a")
    told = support.infer(images, "model.pth", tmp_path / "b", "inference.skip_unreadable=true")
    assert (told["images"], told["skipped_images"]) == (1, 1)
    assert told["skipped"] == [str(images / "bad.png")]
    written = {path.name for path in (tmp_path / "b" / "inference").glob("*.*g")}
    assert written == {"wide_result.jpg", "wide_pred.jpg"}
    lines = support.status_lines(tmp_path / "b" / "inference")
    assert any("bad.png" in line["message"] for line in lines)
    assert lines[-1]["status"] == "SUCCESS"


def test_a_folder_of_nothing_but_unreadable_images(stub, images, tmp_path):
    (images / "wide.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"wide\.png: not a whole image"):
        support.infer(images, "model.pth", tmp_path, "inference.skip_unreadable=true")


def test_all_that_can_be_written(stub, images, tmp_path):
    """Records, COCO, crops and pictures of our own, from the same regions as TAO's text file."""
    (images / "bad.png").write_bytes(b"no image")
    every = "inference.outputs=[txt,json,coco,crops,overlay,heatmap]"
    told = support.infer(images, "model.pth", tmp_path, every, "inference.skip_unreadable=true")
    folder = tmp_path / "inference"
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
    assert {name for name in written if not name.startswith(".")} - {"experiment.yaml"} == {
        *("status.json", "predictions.jsonl", "coco.json", "wide.txt"),
        *("wide_overlay.jpg", "wide_heatmap.jpg", "crops/wide_1.png"),
    }
    bad, wide = map(json.loads, (folder / "predictions.jsonl").read_text().splitlines())
    assert bad["error"]["code"] == "unreadable-image"
    ((corners, score),) = boxes(folder / "wide.txt")
    (region,) = wide["regions"]
    np.testing.assert_allclose(region["polygon"], corners, atol=0.51)
    assert region["score"] == pytest.approx(score, abs=1e-6)
    assert (folder / told["crops"] / region["crop"]).is_file()
    (annotation,) = json.loads((folder / "coco.json").read_text())["annotations"]
    assert np.reshape(annotation["segmentation"], (-1, 2)).tolist() == region["polygon"]
    assert told["overlays"].endswith("*_overlay.jpg")
    heat = cv2.imread(str(folder / "wide_heatmap.jpg"))
    assert heat[43, 175, 1] > heat[10, 10].max() + 60  # bright where text is


def test_outputs_are_a_key_of_ours(images, tmp_path):
    for bad in ("[]", "[xml]"):
        with pytest.raises(SpecError, match=r"inference\.outputs"):
            support.infer(images, "model.pth", tmp_path, f"inference.outputs={bad}")
