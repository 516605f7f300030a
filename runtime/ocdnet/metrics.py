"""Detection metric of ICDAR2015: one-to-one matching by overlap, pooled over images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ocdnet.geometry import Points, area, is_valid, overlaps

_MIN_IOU = 0.5
_DONT_CARE_OVERLAP = 0.5


@dataclass(frozen=True, slots=True)
class Counts:
    """What precision, recall and hmean are made of; add the counts of images, ranks or shards."""

    matched: int = 0
    """Pairs of ground truth and detection."""
    gt_care: int = 0
    """Ground truth that is not ignored."""
    det_care: int = 0
    """Detections that do not lie on ignored text."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.matched + other.matched,
            self.gt_care + other.gt_care,
            self.det_care + other.det_care,
        )

    @property
    def precision(self) -> float:
        """Matched share of the detections, 0..1; 0.0 without detections."""
        return self.matched / self.det_care if self.det_care else 0.0

    @property
    def recall(self) -> float:
        """Matched share of the ground truth, 0..1; 0.0 without ground truth."""
        return self.matched / self.gt_care if self.gt_care else 0.0

    @property
    def hmean(self) -> float:
        """Harmonic mean of precision and recall, 0..1; 0.0 where nothing is matched."""
        return _harmonic_mean(self.precision, self.recall)


@dataclass(frozen=True, slots=True)
class ImageMatch:
    """How the detections of one image match its ground truth; indices are of the polygons given."""

    counts: Counts
    pairs: list[tuple[int, int]]
    """(ground truth, detection) of every match, in the order of the ground truth."""
    gt_dontcare: list[int]
    """Valid polygons of ignored text."""
    det_dontcare: list[int]
    """Valid detections that lie on ignored text."""

    @property
    def precision(self) -> float:
        """Precision of the image; without cared-for text 1.0 if nothing was detected, else 0.0."""
        if not self.counts.gt_care:
            return 0.0 if self.counts.det_care else 1.0
        return self.counts.precision

    @property
    def recall(self) -> float:
        """Recall of the image; 1.0 without cared-for text."""
        return self.counts.recall if self.counts.gt_care else 1.0

    @property
    def hmean(self) -> float:
        """Harmonic mean of the image's precision and recall."""
        return _harmonic_mean(self.precision, self.recall)


def match_image(
    predictions: Sequence[Points],
    ground_truth: Sequence[Points],
    ignore: Sequence[bool] | NDArray[np.bool_],
) -> ImageMatch:
    """Match detections to ground truth by the rules of ICDAR2015, challenge 4.

    A detection is don't-care if more than half of it lies on one ignored polygon. Ground truth
    takes, in its order, the first free detection with IoU > 0.5. Polygons that cross themselves, or
    have fewer than three points or no area, count on neither side.

    Args:
        predictions: polygons [N, 2] in pixels.
        ground_truth: polygons [N, 2] in pixels of the same image.
        ignore: for each ground-truth polygon whether it is don't-care text.
    """
    if len(ground_truth) != len(ignore):
        raise ValueError(f"{len(ground_truth)} polygons but {len(ignore)} ignore flags")
    gts = [i for i, polygon in enumerate(ground_truth) if is_valid(polygon)]
    dets = [i for i, polygon in enumerate(predictions) if is_valid(polygon)]
    gt_polygons, det_polygons = [ground_truth[i] for i in gts], [predictions[i] for i in dets]
    candidates, overlap = overlaps(gt_polygons, det_polygons)
    gt, det = candidates.T
    gt_area = np.array([area(p) for p in gt_polygons])[gt]
    det_area = np.array([area(p) for p in det_polygons])[det]

    # Don't-care detections first: they can neither match nor count as false.
    ignored = np.array([bool(ignore[i]) for i in gts], np.bool_)
    covered = np.zeros(len(dets), np.bool_)
    covered[det[ignored[gt] & (overlap / det_area > _DONT_CARE_OVERLAP)]] = True
    close = overlap / (gt_area + det_area - overlap) > _MIN_IOU
    # First come, first served, not the best overlap: so does ICDAR's own evaluation.
    pairs = _pair(candidates[close & ~ignored[gt] & ~covered[det]])
    return ImageMatch(
        counts=Counts(len(pairs), int((~ignored).sum()), int((~covered).sum())),
        pairs=[(gts[i], dets[j]) for i, j in pairs],
        gt_dontcare=[gts[i] for i in np.flatnonzero(ignored)],
        det_dontcare=[dets[j] for j in np.flatnonzero(covered)],
    )


def _pair(allowed: NDArray[np.int64]) -> list[tuple[int, int]]:
    """One-to-one pairs of ascending int64[K, 2]: each row takes its first column still free."""
    rows: dict[int, int] = {}
    taken: set[int] = set()
    for row, column in allowed.tolist():
        if row not in rows and column not in taken:
            rows[row] = column
            taken.add(column)
    return list(rows.items())


def _harmonic_mean(precision: float, recall: float) -> float:
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0


@dataclass(slots=True)
class DetectionMetric:
    """Counts pooled over images: every text weighs the same, whatever image it is in."""

    counts: Counts = field(default_factory=Counts)
    """The sum over the images so far; ranks are merged by adding theirs."""

    def update(
        self,
        predictions: Sequence[Points],
        ground_truth: Sequence[Points],
        ignore: Sequence[bool] | NDArray[np.bool_],
    ) -> ImageMatch:
        """Add one image, see `match_image`, and return how it matched."""
        match = match_image(predictions, ground_truth, ignore)
        self.counts += match.counts
        return match
