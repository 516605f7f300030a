"""Every kind of data that is accepted goes through training, evaluation, export and inference."""

from __future__ import annotations

import json

import cv2
import numpy as np
import onnx
import pytest

import support
from ocdnet.data.annotations import index_dataset
from ocdnet.data.reading import IMG_MODES
from ocdnet.errors import DataError

pytestmark = pytest.mark.usefixtures("small_network")

TAGS = ["###", "*"]


def restyled(scenes, to, style):
    """The test split with its labels in another style."""
    split = support.copied(scenes / "test", to)
    for label in (split / "gt").iterdir():
        lines = [line.split(",") for line in label.read_text().splitlines()]
        label.unlink()
        image = label.stem.removeprefix("gt_")
        if style == "uber":
            text = "".join(f"{' '.join([*f[:8], *f[:2]])}\t{f[8]}\tName\n" for f in lines)
            (split / "gt" / f"truth_{image}.txt").write_text(text)
        elif style == "total":
            text = "".join(
                f"x: [[{' '.join(f[0:8:2])}]], y: [[{' '.join(f[1:8:2])}]], ornt: [u'h'], "
                f"transcriptions: [u'{f[8]}']\n"
                for f in lines
            )
            (split / "gt" / f"poly_gt_{image}.txt").write_text(text)
        else:  # the upper and the lower edge in four points each
            text = ""
            for field in lines:
                corners = np.array(field[:8], float).reshape(4, 2)
                edges = np.concatenate([np.linspace(*corners[:2], 4), np.linspace(*corners[2:], 4)])
                text += ",".join(f"{v:.1f}" for v in edges.ravel()) + f",{field[8]}\n"
            label.write_text(text)
    return split


def test_labels_of_every_style_train_and_score_together(scenes, detector, tmp_path):
    roots = [restyled(scenes, tmp_path / style, style) for style in ("uber", "total", "polygon")]
    datalist = tmp_path / "list.txt"
    datalist.write_text(
        "".join(
            f"{scenes}/test/img/img_{n}.png\t{scenes}/test/gt/gt_img_{n}.txt\n" for n in range(1, 5)
        )
    )
    paths = f"[{','.join(map(str, [*roots, datalist]))}]"
    found = index_dataset([*roots, datalist], TAGS)
    assert {len(p) for a in found for p in a.polygons} == {4, 8}
    assert found.census.cared == 32
    train = (f"dataset.train_dataset.data_path={paths}", "train.num_epochs=1")
    result = support.train(scenes, tmp_path / "run", *train)
    assert result["checkpoints"] == ["model_epoch_000_step_00008.pth"]
    data = f"dataset.validate_dataset.data_path={paths}"
    scored = support.evaluate(scenes / "test", detector, tmp_path / "run", data)
    assert scored["hmean"] == 1.0
    assert scored["counts"]["matched"] == 32


def test_our_own_outlines_are_labels(scenes, detector, tmp_path):
    out, split = tmp_path / "run", support.copied(scenes / "test", tmp_path / "again")
    support.infer(split / "img", detector, out, "inference.polygon=true")
    points = 0
    for label in (split / "gt").iterdir():
        lines = (out / "inference" / f"{label.stem.removeprefix('gt_')}.txt").read_text()
        points = max(points, *(line.count(",") // 2 for line in lines.splitlines()))
        label.write_text(lines)
    assert points > 4
    polygon = "evaluate.metric.args.is_output_polygon=true"
    scored = support.evaluate(split, detector, out, polygon)
    assert (scored["hmean"], scored["warnings"]) == (1.0, [])


def test_what_is_doubtful_in_labels_is_in_the_result_and_the_status(scenes, detector, tmp_path):
    split = support.copied(scenes / "test", tmp_path / "crossed")
    for label in (split / "gt").iterdir():
        lines = [line.split(",") for line in label.read_text().splitlines()]
        crossed = [",".join([*f[:4], *f[6:8], *f[4:6], *f[8:]]) for f in lines]
        label.write_text("\n".join(crossed))
    scored = support.evaluate(split, detector, tmp_path)
    assert scored["hmean"] == 1.0
    (warning,) = scored["warnings"]
    assert warning["code"] == "mended-corners"
    assert (len(warning["files"]), warning["key"]) == (4, "dataset.validate_dataset.data_path")
    warned = [line for line in support.status_lines(tmp_path / "evaluate") if "warnings" in line]
    assert [line["warnings"] for line in warned] == [[warning]]
    data = f"dataset.train_dataset.data_path=[{split}]"
    trained = support.train(scenes, tmp_path, data, "train.num_epochs=1")
    (mended,) = trained["warnings"]
    assert (mended["count"], mended["key"]) == (warning["count"], "dataset.train_dataset.data_path")


@pytest.mark.parametrize("mode", ["RGB", "GRAY"])  # BGR: tests/e2e
def test_every_image_mode_through_every_action(scenes, tmp_path, mode):
    modes = [f"dataset.{name}_dataset.args.img_mode={mode}" for name in ("train", "validate")]
    trained = support.train(scenes, tmp_path, *modes, "train.num_epochs=1")
    best = tmp_path / "train" / "model_best.pth"
    scored = support.evaluate(scenes / "test", best, tmp_path, modes[1])
    assert scored["hmean"] == pytest.approx(trained["best_metric"]["value"])
    file = tmp_path / "export" / "model.onnx"
    support.export(best, file)
    metadata = {item.key: item.value for item in onnx.load(file).metadata_props}
    assert metadata["ocdnet.preprocess.img_mode"] == mode
    predictions = []
    for number, model in enumerate((best, file)):
        out = tmp_path / str(number)
        images = scenes / "test" / "img"
        support.infer(images, model, out, f"inference.img_mode={mode}")
        predictions.append(cv2.imread(str(out / "inference" / "img_1_pred.jpg")).astype(int))
    assert np.abs(predictions[0] - predictions[1]).max() <= 2
    other = IMG_MODES[IMG_MODES.index(mode) - 1]
    with pytest.raises(DataError) as caught:
        support.infer(images, file, tmp_path / "other", f"inference.img_mode={other}")
    assert caught.value.code == "img-mode-mismatch"


def test_turned_photographs_are_the_same_to_every_action(scenes, detector, tmp_path):
    """Stored on their side, with an EXIF tag; the labels are those of the upright picture."""
    pillow = pytest.importorskip("PIL.Image")
    exif = pillow.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    splits = {}
    for name in ("upright", "turned"):
        splits[name] = split = support.copied(scenes / "test", tmp_path / name)
        for png in sorted((split / "img").iterdir()):
            picture = pillow.open(png)
            if name == "turned":
                picture = picture.transpose(pillow.Transpose.ROTATE_90)
            tag = {"exif": exif} if name == "turned" else {}
            picture.save(png.with_suffix(".jpg"), quality=98, subsampling=0, **tag)
            png.unlink()
    losses, boxes = [], []
    for name, split in splits.items():
        out = tmp_path / f"run_{name}"
        assert support.evaluate(split, detector, out)["hmean"] == 1.0
        support.infer(split / "img", detector, out)
        lines = (out / "inference" / "img_1.txt").read_text().splitlines()
        boxes.append(np.array([support.box_of(line)[0] for line in lines]))
        data = f"dataset.train_dataset.data_path=[{split}]"
        support.train(scenes, out, data, "train.num_epochs=1")
        results = json.loads((out / "train" / "results.json").read_text())
        losses.append(results["last_metrics"]["train_loss"])
    assert np.abs(boxes[0] - boxes[1]).max() <= 2
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
