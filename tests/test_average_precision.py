"""Average precision: by hand, and against pycocotools on rectangles."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from ocdnet.average_precision import LEVELS, AveragePrecision
from ocdnet.metrics import Overlaps


def box(x, y, width=40, height=20):
    return np.float32([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])


def average(images):
    """Of images of (texts, ignore, detections, scores)."""
    gathered = AveragePrecision()
    for texts, ignore, found, scores in images:
        kept = np.ones(len(found), np.bool_)
        gathered.add(Overlaps.of(found, texts, ignore), kept, np.float32(scores))
    return gathered.result()


def test_by_hand():
    """Right, false, right by score, of three texts: at IoU .5 precision 1 up to a recall of 1/3,
    2/3 up to 2/3, then nothing; the second is loose (IoU .6) and counts up to .6."""
    texts = [box(0, 0), box(100, 0), box(200, 0)]
    found = [box(0, 0), box(0, 100), box(110, 0)]
    result = average([(texts, [False] * 3, found, [0.9, 0.8, 0.7])])
    assert result[0] == pytest.approx((34 + 33 * 2 / 3) / 101)
    assert result[LEVELS.index(0.6)] == pytest.approx((34 + 33 * 2 / 3) / 101)
    assert result[LEVELS.index(0.65)] == pytest.approx(34 / 101)


def test_ignored_text_counts_on_neither_side():
    texts, found = [box(0, 0), box(100, 0, 90, 90)], [box(0, 0), box(110, 10), box(140, 40)]
    assert average([(texts, [False, True], found, [0.5, 0.9, 0.8])]) == [1.0] * len(LEVELS)


def test_nothing_to_find():
    assert average([([], [], [box(0, 0)], [0.9])]) == [0.0] * len(LEVELS)


def test_as_pycocotools_on_rectangles():
    coco, evaluation = (
        pytest.importorskip(f"pycocotools.{name}", reason="pycocotools is not installed")
        for name in ("coco", "cocoeval")
    )
    rng, images, labels, results = np.random.default_rng(3), [], [], []
    for image in range(1, 13):
        corners = [(60 * (i % 4), 40 * (i // 4)) for i in range(int(rng.integers(1, 9)))]
        texts = [(x, y, int(rng.integers(20, 55)), int(rng.integers(10, 35))) for x, y in corners]
        shifted = [(*(np.array(text) + rng.integers(-4, 5, 4)).tolist(),) for text in texts]
        found = [one for one in shifted if rng.random() < 0.8] + shifted[:2]
        ignore = (rng.random(len(texts)) < 0.2).tolist()
        scores = (rng.integers(1, 20, len(found)) / 20).tolist()
        labels += [
            {"id": len(labels) + at + 1, "image_id": image, "category_id": 1, "bbox": list(text),
             "area": text[2] * text[3], "iscrowd": int(ignore[at])}
            for at, text in enumerate(texts)
        ]  # fmt: skip
        results += [
            {"image_id": image, "category_id": 1, "bbox": list(one), "score": score}
            for one, score in zip(found, scores, strict=True)
        ]
        images.append(([box(*t) for t in texts], ignore, [box(*f) for f in found], scores))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = {
            "images": [{"id": image} for image in range(1, 13)],
            "categories": [{"id": 1}],
            "annotations": labels,
        }
        truth.createIndex()
        judge = evaluation.COCOeval(truth, truth.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
    expected = judge.eval["precision"][:, :, 0, 0, -1].mean(axis=1)
    np.testing.assert_allclose(average(images), expected, atol=1e-6)
    assert 0.2 < expected.mean() < 0.9
