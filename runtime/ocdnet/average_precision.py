"""Average precision as COCO's evaluation computes it, over polygons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ocdnet.metrics import Overlaps

LEVELS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""IoU from which on a detection matches."""
_RECALLS = np.linspace(0, 1, 101)


@dataclass(slots=True)
class AveragePrecision:
    """Gathers the detections of many images.

    Of an image the detection with the highest score takes, of the texts still free, the one that it
    overlaps most. Ignored text is COCO's crowd: detections that lie on it count on neither side.
    There is no limit of 100 detections an image.
    """

    _texts: int = 0
    _scores: list[NDArray[np.float32]] = field(default_factory=list)
    _matched: list[NDArray[np.bool_]] = field(default_factory=list)
    _passed: list[NDArray[np.bool_]] = field(default_factory=list)

    def add(self, overlaps: Overlaps, kept: NDArray[np.bool_], scores: NDArray[np.float32]) -> None:
        """Take in one image: its regions, those that are detections, and the regions' scores."""
        self._texts += int((~overlaps.ignored).sum())
        own = scores[overlaps.dets]
        order = [at for at in np.argsort(-own, kind="stable") if kept[overlaps.dets[at]]]
        rows = [_row(overlaps, int(at)) for at in order]
        both = np.zeros((2, len(LEVELS), len(order)), np.bool_)
        for level, least in enumerate(LEVELS):
            both[:, level] = _matched(rows, overlaps.ignored, least)
        self._scores.append(own[order])
        self._matched.append(both[0])
        self._passed.append(both[1])

    def result(self) -> list[float]:
        """The average precision 0..1 at each of LEVELS; zeros without text."""
        if not self._texts or not self._scores:
            return [0.0] * len(LEVELS)
        order = np.argsort(-np.concatenate(self._scores), kind="stable")
        matched = np.concatenate(self._matched, axis=1)[:, order]
        passed = np.concatenate(self._passed, axis=1)[:, order]
        return [
            _average(matched[level] & ~passed[level], ~matched[level] & ~passed[level], self._texts)
            for level in range(len(LEVELS))
        ]


_Row = list[tuple[int, float, float]]
"""Of a detection the texts that it touches, those that count first: position, IoU, and share of the
detection that lies in it."""


def _row(overlaps: Overlaps, det: int) -> _Row:
    pairs = np.flatnonzero(overlaps.det == det)
    columns = (column[pairs].tolist() for column in (overlaps.gt, overlaps.iou, overlaps.of_det))
    rows = [(gt, iou, share) for gt, iou, share in zip(*columns, strict=True)]
    return sorted(rows, key=lambda row: bool(overlaps.ignored[row[0]]))


def _matched(rows: Sequence[_Row], ignored: NDArray[np.bool_], least: float) -> NDArray[np.bool_]:
    """bool[2, K]: which detections, by falling score, have a match; with ignored text."""
    taken: set[int] = set()
    result = np.zeros((2, len(rows)), np.bool_)
    for at, row in enumerate(rows):
        best, chosen = min(least, 1 - 1e-10), -1
        for gt, iou, share in row:
            if ignored[gt] and chosen >= 0 and not ignored[chosen]:
                break
            overlap = share if ignored[gt] else iou
            if gt not in taken and overlap >= best:
                best, chosen = overlap, gt
        if chosen >= 0:
            result[:, at] = True, ignored[chosen]
            taken |= set() if ignored[chosen] else {chosen}
    return result


def _average(right: NDArray[np.bool_], wrong: NDArray[np.bool_], texts: int) -> float:
    hits, misses = np.cumsum(right, dtype=float), np.cumsum(wrong, dtype=float)
    precision = hits / np.maximum(hits + misses, np.spacing(1))
    # At each recall the best precision that is reached there or beyond.
    best = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(hits / texts, _RECALLS, side="left")
    return float(np.mean([best[i] if i < len(best) else 0.0 for i in at]))
