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


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Where detections and ground truth of one image meet; of it matches are made at little cost.

    Polygons that cross themselves, or have fewer than three points or no area, are left out. The
    columns below are of the pairs that touch, ascending by ground truth, then by detection.

    Attributes:
        gts: indices of the valid ones among the ground truth given.
        dets: the same of the detections given.
        ignored: bool[len(gts)]: don't-care text.
        covered: bool[len(dets)]: detections on one don't-care text.
        gt: int64[K]: of each pair the position in `gts`.
        det: int64[K]: of each pair the position in `dets`.
        of_gt: float64[K]: share of the ground truth's area that lies in the detection.
        of_det: float64[K]: share of the detection's area that lies in the ground truth.
        iou: float64[K]: intersection over union.
    """

    gts: list[int]
    dets: list[int]
    ignored: NDArray[np.bool_]
    covered: NDArray[np.bool_]
    gt: NDArray[np.int64]
    det: NDArray[np.int64]
    of_gt: NDArray[np.float64]
    of_det: NDArray[np.float64]
    iou: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        predictions: Sequence[Points],
        ground_truth: Sequence[Points],
        ignore: Sequence[bool] | NDArray[np.bool_],
    ) -> Overlaps:
        """The overlaps of polygons [N, 2] in pixels of one image; see `match_image`."""
        if len(ground_truth) != len(ignore):
            raise ValueError(f"{len(ground_truth)} polygons but {len(ignore)} ignore flags")
        gts = [i for i, polygon in enumerate(ground_truth) if is_valid(polygon)]
        dets = [i for i, polygon in enumerate(predictions) if is_valid(polygon)]
        gt_polygons, det_polygons = [ground_truth[i] for i in gts], [predictions[i] for i in dets]
        candidates, overlap = overlaps(gt_polygons, det_polygons)
        gt, det = candidates.T
        gt_area = np.array([area(p) for p in gt_polygons])[gt]
        det_area = np.array([area(p) for p in det_polygons])[det]
        of_gt, of_det = overlap / gt_area, overlap / det_area
        # Don't-care detections: they can neither match nor count as false.
        ignored = np.array([bool(ignore[i]) for i in gts], np.bool_)
        covered = np.zeros(len(dets), np.bool_)
        covered[det[ignored[gt] & (of_det > _DONT_CARE_OVERLAP)]] = True
        iou = overlap / (gt_area + det_area - overlap)
        return cls(gts, dets, ignored, covered, gt, det, of_gt, of_det, iou)

    def match(self, kept: NDArray[np.bool_] | None = None) -> ImageMatch:
        """The match of the detections, or of those that are kept: bool for each one given."""
        there = np.ones(len(self.dets), np.bool_) if kept is None else kept[self.dets]
        close = (self.iou > _MIN_IOU) & ~self.ignored[self.gt] & (~self.covered & there)[self.det]
        # First come, first served, not the best overlap: so does ICDAR's own evaluation.
        pairs = _pair(np.column_stack((self.gt[close], self.det[close])))
        det_care = int((~self.covered & there).sum())
        return ImageMatch(
            counts=Counts(len(pairs), int((~self.ignored).sum()), det_care),
            pairs=[(self.gts[i], self.dets[j]) for i, j in pairs],
            gt_dontcare=[self.gts[i] for i in np.flatnonzero(self.ignored)],
            det_dontcare=[self.dets[j] for j in np.flatnonzero(self.covered & there)],
        )

    def counts(self, scores: NDArray[np.float32], least: Sequence[float]) -> NDArray[np.int64]:
        """What would be counted of the detections with these scores or higher ones.

        Args:
            scores: of each detection given.
            least: scores from which on a detection is kept.

        Returns:
            int64[len(least), 2]: matches, and detections that count.
        """
        own, rows = scores[self.dets], []
        close = (self.iou > _MIN_IOU) & ~self.ignored[self.gt] & ~self.covered[self.det]
        table = np.column_stack((self.gt[close], self.det[close]))
        of_pair, of_counted = own[table[:, 1]], own[~self.covered]
        for score in least:
            pairs = _pair(table[of_pair >= score])
            rows.append((len(pairs), int((of_counted >= score).sum())))
        return np.array(rows, np.int64).reshape(-1, 2)


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
    return Overlaps.of(predictions, ground_truth, ignore).match()


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
