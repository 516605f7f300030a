"""Evaluate: known scores, the same from every backend, and errors that name the cause."""

from __future__ import annotations

import json
import shutil

import pytest

import support
from ocdnet.config import spec
from ocdnet.data.annotations import index_dataset
from ocdnet.errors import DataError, Exit
from ocdnet.metrics import DetectionMetric
from ocdnet.runs.explained import read_explained

pytestmark = pytest.mark.usefixtures("small_network")


@pytest.fixture(scope="module")
def exam(scenes, tmp_path_factory):
    """The test split with labels that make known mistakes of a perfect detector.

    Of 8 blocks one loses its label (a false alarm), one becomes don't-care; and a label lies where
    nothing is (a miss): 7 to be found, 7 found, 6 of them right.
    """
    split = support.copied(scenes / "test", tmp_path_factory.mktemp("exam") / "test")
    labels = [split / "gt" / f"gt_img_{number}.txt" for number in (1, 2, 3)]
    first, _ = labels[0].read_text().splitlines(keepends=True)
    labels[0].write_text(first)
    labels[1].write_text(labels[1].read_text().replace("word", "###", 1))
    labels[2].write_text(labels[2].read_text() + "0,0,4,0,4,155,0,155,nothing\n")
    return split


EXPECTED = {"matched": 6, "gt_care": 7, "det_care": 7}


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("kind", ["pth", "onnx"])
def test_known_scores(exam, detector, detector_onnx, tmp_path, kind, batch_size):
    path = detector if kind == "pth" else detector_onnx
    result = support.evaluate(exam, path, tmp_path, f"evaluate.batch_size={batch_size}")
    assert result["counts"] == EXPECTED
    scores = [result[name] for name in ("hmean", "precision", "recall")]
    assert scores == pytest.approx([6 / 7] * 3)
    assert result["checkpoint"] == str(path)


def test_backends_agree(exam, detector, detector_onnx, tmp_path):
    rows = []
    for name, path in (("pth", detector), ("onnx", detector_onnx)):
        support.evaluate(exam, path, tmp_path / name)
        results = json.loads((tmp_path / name / "evaluate" / "results.json").read_text())
        rows.append(results["per_image"])
    assert rows[0] == rows[1]


def test_results_file(exam, detector_onnx, tmp_path):
    result = support.evaluate(exam, detector_onnx, tmp_path)
    folder = tmp_path / "evaluate"
    written = json.loads((folder / "results.json").read_text())
    images, curve, _ = (written.pop(name) for name in ("per_image", "curve", "box_scores"))
    assert written == result
    assert curve["hmean"][curve["box_thresh"].index(0.55)] == round(result["hmean"], 4)
    assert [image["image"] for image in images] == [
        str(exam / "img" / f"img_{number}.png") for number in (1, 2, 3, 4)
    ]
    for name, total in result["counts"].items():
        assert sum(image[name] for image in images) == total
    assert [image["precision"] for image in images] == [0.5, 1.0, 1.0, 1.0]
    assert [image["recall"] for image in images] == [1.0, 1.0, pytest.approx(2 / 3), 1.0]
    lines = support.status_lines(folder)
    assert lines[-1]["status"] == "SUCCESS"
    scores = {name: result[name] for name in ("hmean", "precision", "recall")}
    assert scores in [line.get("kpi") for line in lines]
    assert spec.load("evaluate", folder / "experiment.yaml").experiment.evaluate.checkpoint


def test_the_boxes_of_inference_score_the_same(exam, detector_onnx, tmp_path):
    """The other way round: boxes as written, the metric by hand (whole pixels move no match)."""
    result = support.evaluate(exam, detector_onnx, tmp_path)
    support.infer(exam / "img", detector_onnx, tmp_path)
    metric = DetectionMetric()
    for annotation in index_dataset([str(exam)], ["###"]):
        text = (tmp_path / "inference" / f"{annotation.image.stem}.txt").read_text()
        boxes = [support.box_of(line)[0] for line in text.splitlines()]
        metric.update(boxes, annotation.polygons, annotation.ignore)
    assert metric.counts.hmean == pytest.approx(result["hmean"])


def test_the_threshold_of_the_spec_counts(exam, detector_onnx, tmp_path):
    none = "evaluate.post_processing.args.box_thresh=1.0"
    result = support.evaluate(exam, detector_onnx, tmp_path, none)
    assert result["counts"] == {"matched": 0, "gt_care": 7, "det_care": 0}
    assert (result["hmean"], result["precision"], result["recall"]) == (0, 0, 0)
    assert result["thresholds"]["box_thresh"] == 1.0


def test_polygons(exam, detector_onnx, tmp_path):
    polygons = "evaluate.metric.args.is_output_polygon=true"
    assert support.evaluate(exam, detector_onnx, tmp_path, polygons)["counts"] == EXPECTED


def test_images_are_scored_in_their_own_pixels(exam, detector_onnx, tmp_path):
    """Twice the width and the labels with it: the same network input, the same scores."""
    import cv2

    wide = support.copied(exam, tmp_path / "wide")
    for path in (wide / "img").iterdir():
        image = cv2.imread(str(path))
        cv2.imwrite(str(path), cv2.resize(image, (320, 160), interpolation=cv2.INTER_NEAREST))
    for path in (wide / "gt").iterdir():
        lines = []
        for line in path.read_text().splitlines():
            *numbers, text = line.split(",")
            doubled = [str(2 * int(n) if i % 2 == 0 else n) for i, n in enumerate(numbers)]
            lines.append(",".join([*doubled, text]) + "\n")
        path.write_text("".join(lines))
    assert support.evaluate(wide, detector_onnx, tmp_path)["counts"] == EXPECTED


@pytest.mark.parametrize(
    ("override", "code", "named"),
    [
        ("dataset.validate_dataset.args.img_mode=RGB", "img-mode-mismatch", ["RGB", "BGR"]),
        (
            "dataset.validate_dataset.args.pre_processes.0.args.short_size=[192,160]",
            "size-mismatch",
            ["192", "width 160, height 160"],
        ),
    ],
)
def test_an_onnx_made_for_other_images(exam, detector_onnx, tmp_path, override, code, named):
    with pytest.raises(DataError) as caught:
        support.evaluate(exam, detector_onnx, tmp_path, override)
    assert caught.value.code == code
    assert all(value in str(caught.value) for value in named)


def test_a_checkpoint_knows_its_image_mode(exam, detector, tmp_path):
    with pytest.raises(DataError) as caught:
        support.evaluate(exam, detector, tmp_path, "dataset.validate_dataset.args.img_mode=RGB")
    assert caught.value.code == "img-mode-mismatch"


@pytest.mark.parametrize("name", ["model.engine", "model.txt"])
def test_files_that_are_no_model(exam, tmp_path, name):
    (tmp_path / name).write_text("something")
    with pytest.raises(DataError) as caught:
        support.evaluate(exam, tmp_path / name, tmp_path)
    assert name in caught.value.message
    assert ".onnx" in caught.value.expected


@pytest.mark.parametrize("trouble", ["archive", "no gt", "bad line", "bad image"])
def test_bad_data(exam, detector_onnx, tmp_path, trouble):
    data = support.copied(exam, tmp_path / "data")
    label = data / "gt" / "gt_img_2.txt"
    named = str(label)
    if trouble == "archive":
        data = named = shutil.make_archive(str(tmp_path / "data"), "zip", data)
    elif trouble == "no gt":
        label.unlink()
        named = "img_2"
    elif trouble == "bad line":
        label.write_text(label.read_text() + "1,2,3,4,word\n")
        named = f"{label}:3"
    else:
        named = str(data / "img" / "img_2.png")
        (data / "img" / "img_2.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        support.evaluate(data, detector_onnx, tmp_path)
    assert caught.value.exit_code == Exit.DATA
    assert named in str(caught.value)
    assert not (tmp_path / "evaluate" / "results.json").exists()


def test_every_mistake_is_explained(exam, detector_onnx, tmp_path):
    """The exam has one false alarm and one miss, both where nothing else lies."""
    result = support.evaluate(exam, detector_onnx, tmp_path, "evaluate.coco_ap=true")
    misses, false = result["mistakes"]["misses"], result["mistakes"]["false_alarms"]
    assert {kind for kind, number in misses.items() if number} == {"missed"}
    assert {kind for kind, number in false.items() if number} == {"no_text"}
    assert sum(misses.values()) == sum(false.values()) == 1
    for groups in result["recall_by"].values():
        assert (sum(groups["texts"]), sum(groups["found"])) == (7, 6)
    assert result["recall_by"]["height"]["texts"][0] == 1  # the label of 4 x 155 pixels
    assert 0 < result["coco"]["ap"] < result["coco"]["ap50"] <= 6 / 7
    pictures = list(read_explained(tmp_path / "evaluate"))
    assert [picture.mistakes for picture in pictures] == [1, 0, 1, 0]
    (missed,) = [label for label in pictures[2].labels if label.role == "missed"]
    assert (missed.kind, missed.polygon) == ("missed", (0, 0, 4, 0, 4, 155, 0, 155))
    assert [region.role for region in pictures[1].regions].count("ignored") == 1


def test_a_high_box_thresh_is_told_as_such(exam, detector_onnx, tmp_path):
    none = "evaluate.post_processing.args.box_thresh=1.0"
    result = support.evaluate(exam, detector_onnx, tmp_path, none)
    assert result["mistakes"]["misses"]["low_score"] == 6
    written = json.loads((tmp_path / "evaluate" / "results.json").read_text())
    at = written["curve"]["box_thresh"].index(0.5)
    assert written["curve"]["recall"][at] == round(6 / 7, 4)
    assert sum(written["box_scores"]["matched"]) == 6
    assert sum(written["box_scores"]["unmatched"]) >= 1  # how many faint ones is the CPU's rounding
