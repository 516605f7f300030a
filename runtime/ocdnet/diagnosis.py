"""Why a text was missed and why a detection is wrong: one kind for each, by how they overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ocdnet.metrics import ImageMatch, Overlaps
from ocdnet.mistake_kinds import FalseKind, MissKind

_MATCH, _LOOSE, _MOSTLY, _PARTLY = 0.5, 0.3, 0.5, 0.25

_Table: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Miss:
    """A text without a match.

    Attributes:
        kind: why.
        iou: the best that a detection has with it.
        region: of low_score, index of the region that would match.
    """

    kind: MissKind
    iou: float
    region: int | None = None


@dataclass(frozen=True, slots=True)
class FalseAlarm:
    """A detection without a match.

    Attributes:
        kind: why.
        iou: the best that it has with a text that counts.
    """

    kind: FalseKind
    iou: float


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The mistakes of one image, by the index of the polygon that they are about."""

    misses: dict[int, Miss]
    false_alarms: dict[int, FalseAlarm]


def diagnose(overlaps: Overlaps, kept: NDArray[np.bool_], match: ImageMatch) -> Diagnosis:
    """The kind of every miss and of every false alarm.

    Args:
        overlaps: of all regions with the labels, those with low scores included.
        kept: bool for each region: whether its score makes it a detection.
        match: `overlaps.match(kept)`.
    """
    return _Picture(overlaps, kept, match).diagnosis()


class _Picture:
    """The overlaps as tables [G, D] of the texts that count and of all valid regions."""

    def __init__(self, overlaps: Overlaps, kept: NDArray[np.bool_], match: ImageMatch) -> None:
        self.overlaps = overlaps
        there = kept[overlaps.dets] if overlaps.dets else np.zeros(0, np.bool_)
        self.counted, self.passed = there & ~overlaps.covered, there & overlaps.covered
        self.low = ~there & ~overlaps.covered
        matched_gt, matched_det = ({pair[side] for pair in match.pairs} for side in (0, 1))
        self.found = np.array([gt in matched_gt for gt in overlaps.gts], np.bool_)
        self.right = np.array([det in matched_det for det in overlaps.dets], np.bool_)
        self.iou, self.of_gt, self.of_det = (
            self._table(column) for column in (overlaps.iou, overlaps.of_gt, overlaps.of_det)
        )
        cared = ~overlaps.ignored
        covers = (self.of_gt > _MOSTLY) & cared[:, None] & self.counted
        self.covers_several = covers & (covers.sum(axis=0) > 1)
        self.lies = (self.of_det > _MOSTLY) & cared[:, None] & self.counted

    def _table(self, column: NDArray[np.float64]) -> _Table:
        table = np.zeros((len(self.overlaps.gts), len(self.overlaps.dets)))
        table[self.overlaps.gt, self.overlaps.det] = column
        return table

    def diagnosis(self) -> Diagnosis:
        missed = np.flatnonzero(~self.overlaps.ignored & ~self.found)
        false = np.flatnonzero(self.counted & ~self.right)
        return Diagnosis(
            {self.overlaps.gts[row]: self._miss(row) for row in missed.tolist()},
            {self.overlaps.dets[column]: self._false_alarm(column) for column in false.tolist()},
        )

    def _miss(self, row: int) -> Miss:
        iou = self.iou[row]
        best = float(max(iou[self.counted], default=0.0))
        low = np.where(self.low, iou, 0.0)
        kind: MissKind = "missed"
        if (iou[self.passed] > _MATCH).any():
            kind = "on_ignored"
        elif best > _MATCH:
            kind = "duplicate"
        elif self.covers_several[row].any():
            kind = "merged"
        elif self.lies[row].sum() > 1:
            kind = "split"
        elif best >= _LOOSE:
            kind = "loose"
        elif max(low, default=0.0) > _MATCH:
            return Miss("low_score", best, self.overlaps.dets[int(low.argmax())])
        return Miss(kind, best)

    def _false_alarm(self, column: int) -> FalseAlarm:
        cared, lies = ~self.overlaps.ignored, self.lies[:, column]
        iou = self.iou[:, column]
        best = float(max(iou[cared], default=0.0))
        kind: FalseKind = "no_text"
        if best > _MATCH:
            kind = "duplicate"
        elif self.covers_several[:, column].any():
            kind = "merged"
        elif (lies & self.found).any():
            kind = "duplicate"
        elif (lies & (self.lies.sum(axis=1) > 1)).any():
            kind = "split"
        elif best >= _LOOSE:
            kind = "loose"
        elif self.of_det[~cared, column].sum() > _PARTLY:
            kind = "on_ignored"
        return FalseAlarm(kind, best)
