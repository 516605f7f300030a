"""The ICDAR2015 metric as its evaluation script computes it: by shapely, a pair at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import Polygon as ShapelyPolygon


def counts(
    predictions: Sequence[NDArray[np.float32]],
    ground_truth: Sequence[NDArray[np.float32]],
    ignore: Sequence[bool],
) -> tuple[int, int, int]:
    """(matched, gt_care, det_care) of one image."""
    gts, gt_ignored = [], []
    for polygon, ignored in zip(ground_truth, ignore, strict=True):
        if not ShapelyPolygon(polygon).is_valid or not ShapelyPolygon(polygon).is_simple:
            continue
        gts.append(polygon)
        if ignored:
            gt_ignored.append(len(gts) - 1)
    dets, det_ignored = [], []
    for polygon in predictions:
        if not ShapelyPolygon(polygon).is_valid or not ShapelyPolygon(polygon).is_simple:
            continue
        dets.append(polygon)
        for index in gt_ignored:
            shared = _intersection(gts[index], polygon)
            size = ShapelyPolygon(polygon).area
            if size and shared / size > 0.5:
                det_ignored.append(len(dets) - 1)
                break
    iou = np.empty((len(gts), len(dets)))
    for i, gt in enumerate(gts):
        for j, det in enumerate(dets):
            iou[i, j] = _iou(gt, det)
    matched = 0
    gt_taken, det_taken = np.zeros(len(gts), np.int8), np.zeros(len(dets), np.int8)
    for i in range(len(gts)):
        for j in range(len(dets)):
            free = gt_taken[i] == 0 and det_taken[j] == 0
            if free and i not in gt_ignored and j not in det_ignored and iou[i, j] > 0.5:
                gt_taken[i] = det_taken[j] = 1
                matched += 1
    return matched, len(gts) - len(gt_ignored), len(dets) - len(det_ignored)


def _intersection(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    return float(ShapelyPolygon(first).intersection(ShapelyPolygon(second)).area)


def _iou(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    union = ShapelyPolygon(first).union(ShapelyPolygon(second)).area
    return _intersection(first, second) / float(union)
