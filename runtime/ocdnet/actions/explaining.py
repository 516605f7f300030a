"""An evaluation's account of itself: kinds of mistakes, recall by group, curve, scores of boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any, TextIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from ocdnet.average_precision import LEVELS, AveragePrecision
from ocdnet.breakdown import ANGLES, HEIGHTS, LENGTHS, Breakdown, Tally
from ocdnet.data.annotations import Annotation
from ocdnet.diagnosis import Diagnosis, diagnose
from ocdnet.geometry import Frame, Points, Polygon
from ocdnet.metrics import Counts, ImageMatch, Overlaps
from ocdnet.postprocess import DBPostprocessor, Detections
from ocdnet.runs.explained import (
    MOST_BYTES,
    MOST_POLYGONS,
    BoxScores,
    CocoScores,
    Curve,
    ExplainedImage,
    ExplainedLabel,
    ExplainedRegion,
    FalseKinds,
    Grid,
    Groups,
    MissKinds,
    Mistakes,
    RecallBy,
    as_line,
)

_Kinds = TypeVar("_Kinds", MissKinds, FalseKinds)

_STEPS = 20
_CURVE = [step / _STEPS for step in range(1, _STEPS)]
_DECIMALS = 4


@dataclass(frozen=True)
class Examined:
    """One picture, looked at closely.

    Attributes:
        size: (width, height) in pixels.
        regions: every region of the map, whatever its score.
        kept: bool[K]: those that are detections.
        overlaps: of the regions with the labels.
        match: how the detections match; indices are of the regions.
        diagnosis: the kind of each mistake.
        curve: int64[19, 2]: matches and detections that count, for each box_thresh of the curve.
        matching: regions that match a text, or would with a lower box_thresh.
        line: the picture as explained.jsonl has it.
    """

    size: tuple[int, int]
    regions: Detections
    kept: NDArray[np.bool_]
    overlaps: Overlaps
    match: ImageMatch
    diagnosis: Diagnosis
    curve: NDArray[np.int64]
    matching: frozenset[int]
    line: str = ""

    @property
    def detections(self) -> list[Polygon]:
        """The polygons of those regions that are kept."""
        return list(compress(self.regions.polygons, self.kept))

    @property
    def of_detections(self) -> ImageMatch:
        """The match with indices of the detections."""
        place = np.cumsum(self.kept) - 1
        return replace(
            self.match,
            pairs=[(gt, int(place[det])) for gt, det in self.match.pairs],
            det_dontcare=[int(place[det]) for det in self.match.det_dontcare],
        )


def examined(
    annotation: Annotation,
    probability: NDArray[np.float32],
    frame: Frame,
    postprocess: DBPostprocessor,
) -> Examined:
    """Look at a picture by its map float32[h, w]; called in threads."""
    regions, kept = postprocess.regions(probability, frame)
    overlaps = Overlaps.of(regions.polygons, annotation.polygons, annotation.ignore)
    match = overlaps.match(kept)
    lower = {det for _, det in overlaps.match().pairs if not kept[det]}
    seen = Examined(
        size=frame.image_size,
        regions=regions,
        kept=kept,
        overlaps=overlaps,
        match=match,
        diagnosis=diagnose(overlaps, kept, match),
        curve=overlaps.counts(regions.scores, _CURVE),
        matching=frozenset({det for _, det in match.pairs} | lower),
    )
    return replace(seen, line=as_line(_image(annotation, seen)))


@dataclass
class Explanation:
    """Gathers what was seen in all pictures, and writes each as a line.

    Attributes:
        lines: where they go.
        coco: gathers the average precision; None: not asked for.
    """

    lines: TextIO
    coco: AveragePrecision | None = None
    _counts: Counts = field(default_factory=Counts)
    _misses: Counter[str] = field(default_factory=Counter)
    _false: Counter[str] = field(default_factory=Counter)
    _breakdown: Breakdown = field(default_factory=Breakdown)
    _curve: NDArray[np.int64] = field(default_factory=lambda: np.zeros((len(_CURVE), 2), np.int64))
    _scores: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, _STEPS), np.int64))
    _written: int = 0

    def add(self, annotation: Annotation, seen: Examined) -> None:
        """Take in one picture."""
        self._counts += seen.match.counts
        self._misses.update(miss.kind for miss in seen.diagnosis.misses.values())
        self._false.update(false.kind for false in seen.diagnosis.false_alarms.values())
        found = {gt for gt, _ in seen.match.pairs}
        for gt, ignored in zip(seen.overlaps.gts, seen.overlaps.ignored, strict=True):
            if not ignored:
                self._breakdown.add(annotation.polygons[gt], gt in found, seen.size)
        self._curve += seen.curve
        self._add_scores(seen)
        if self.coco is not None:
            self.coco.add(seen.overlaps, seen.kept, seen.regions.scores)
        if self._written < MOST_BYTES:
            self._written += self.lines.write(seen.line)

    def _add_scores(self, seen: Examined) -> None:
        for det, covered in zip(seen.overlaps.dets, seen.overlaps.covered, strict=True):
            if not covered:
                step = min(max(int(_STEPS * seen.regions.scores[det]), 0), _STEPS - 1)
                self._scores[int(det not in seen.matching), step] += 1

    def records(self) -> dict[str, Any]:
        """The fields of an EvaluateResult."""
        by = self._breakdown
        return {
            "mistakes": Mistakes(
                misses=_kinds(MissKinds, self._misses), false_alarms=_kinds(FalseKinds, self._false)
            ),
            "recall_by": RecallBy(
                height=_groups(HEIGHTS, by.height),
                angle=_groups(ANGLES, by.angle),
                length=_groups(LENGTHS, by.length),
                place=Grid(texts=_ints(by.place.texts), found=_ints(by.place.found)),
            ),
            "coco": None if self.coco is None else _coco(self.coco),
            "curve": self._curve_record(),
            "box_scores": BoxScores(
                matched=_ints(self._scores[0]), unmatched=_ints(self._scores[1])
            ),
        }

    def _curve_record(self) -> Curve:
        points = [
            Counts(matched, self._counts.gt_care, det_care)
            for matched, det_care in self._curve.tolist()
        ]
        return Curve(
            box_thresh=tuple(_CURVE),
            precision=_rounded(point.precision for point in points),
            recall=_rounded(point.recall for point in points),
            hmean=_rounded(point.hmean for point in points),
        )


def _kinds(kind: type[_Kinds], counted: Counter[str]) -> _Kinds:
    numbers: dict[str, Any] = dict(counted)
    return kind(**numbers)


def _coco(gathered: AveragePrecision) -> CocoScores:
    by_level = dict(zip(LEVELS, gathered.result(), strict=True))
    mean = sum(by_level.values()) / len(by_level)
    return CocoScores(ap=mean, ap50=by_level[0.5], ap75=by_level[0.75])


def _groups(bounds: Iterable[float], tally: Tally) -> Groups:
    return Groups(bounds=tuple(bounds), texts=_ints(tally.texts), found=_ints(tally.found))


def _ints(numbers: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(numbers.tolist())


def _rounded(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(value, _DECIMALS) for value in values)


def _image(annotation: Annotation, seen: Examined) -> ExplainedImage:
    """A picture as a line has it: the first of very many polygons, and only valid ones."""
    (width, height), (of_texts, of_regions) = seen.size, _best_ious(seen)
    return ExplainedImage(
        image=annotation.name,
        width=width,
        height=height,
        labels=tuple(_labels(annotation, seen, of_texts))[:MOST_POLYGONS],
        regions=tuple(_regions(seen, of_regions))[:MOST_POLYGONS],
    )


def _labels(
    annotation: Annotation, seen: Examined, best: NDArray[np.float64]
) -> Iterable[ExplainedLabel]:
    found = {gt for gt, _ in seen.match.pairs}
    for at, gt in enumerate(seen.overlaps.gts):
        polygon = _whole(annotation.polygons[gt])
        miss = seen.diagnosis.misses.get(gt)
        if miss is not None:
            low = None if miss.region is None else _unit(seen.regions.scores[miss.region])
            yield ExplainedLabel(
                polygon=polygon, role="missed", kind=miss.kind, iou=_unit(miss.iou), score=low
            )
        elif gt in found:
            yield ExplainedLabel(polygon=polygon, role="found", iou=_unit(best[at]))
        else:
            yield ExplainedLabel(polygon=polygon, role="ignored")


def _regions(seen: Examined, best: NDArray[np.float64]) -> Iterable[ExplainedRegion]:
    right = {det for _, det in seen.match.pairs}
    for at, det in enumerate(seen.overlaps.dets):
        polygon, score = _whole(seen.regions.polygons[det]), _unit(seen.regions.scores[det])
        false = seen.diagnosis.false_alarms.get(det)
        if false is not None:
            yield ExplainedRegion(
                polygon=polygon, score=score, role="false", kind=false.kind, iou=_unit(false.iou)
            )
        elif det in right:
            yield ExplainedRegion(polygon=polygon, score=score, role="right", iou=_unit(best[at]))
        else:
            low = not seen.kept[det]
            yield ExplainedRegion(polygon=polygon, score=score, role="low" if low else "ignored")


def _best_ious(seen: Examined) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each text the best IoU with a detection; of each region that with a text that counts."""
    overlaps = seen.overlaps
    of_gt, of_det = np.zeros(len(overlaps.gts)), np.zeros(len(overlaps.dets))
    kept = np.array([seen.kept[det] for det in overlaps.dets], np.bool_)
    pairs = kept[overlaps.det] & ~overlaps.ignored[overlaps.gt]
    np.maximum.at(of_gt, overlaps.gt[pairs], overlaps.iou[pairs])
    np.maximum.at(of_det, overlaps.det[pairs], overlaps.iou[pairs])
    return of_gt, of_det


def _unit(value: Any) -> float:
    return round(min(max(float(value), 0.0), 1.0), _DECIMALS)


def _whole(polygon: Points) -> tuple[int, ...]:
    return tuple(np.rint(polygon).astype(int).ravel().tolist())
