"""The worst and the best images of a validation, in a small file that a report draws them from."""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ocdnet.data.annotations import Annotation
from ocdnet.files import write_text
from ocdnet.geometry import Points, is_valid
from ocdnet.metrics import ImageMatch
from ocdnet.runs.files import SAMPLES

ROLES = ("ignored", "found", "right", "missed", "false")
"""What a polygon is, in the order of drawing: don't-care text and what was detected on it; text
that was found, and its detection; text that was missed; a detection where no text is."""

_WORST, _BEST = 8, 4
_MOST_POLYGONS = 300
_MOST_BYTES = 20_000_000


@dataclass(frozen=True)
class Sample:
    """One image and how its detections met its labels.

    Attributes:
        image: path of the file.
        hmean: of the image, as are precision and recall.
        polygons: for each of ROLES polygons as x1, y1, x2, y2 ... in whole pixels of the image,
            the first 300.
    """

    image: str
    hmean: float
    precision: float
    recall: float
    polygons: Mapping[str, list[list[int]]]

    def count(self, role: str) -> int:
        """How many polygons play a role."""
        return len(self.polygons[role])

    @property
    def mistakes(self) -> int:
        """Missed text and false detections."""
        return self.count("missed") + self.count("false")


@dataclass(frozen=True)
class Samples:
    """What a samples.json holds.

    Attributes:
        hmean: over all images.
        images: how many there were.
        epoch: the training's, counted from 0; None of an evaluation.
        worst: images with mistakes, those with the most first.
        best: images with found text, the best first, none of the worst.
        train_loss: of that epoch; None where there is none, or it is not known.
    """

    hmean: float
    images: int
    epoch: int | None
    worst: list[Sample]
    best: list[Sample]
    train_loss: float | None = None


@dataclass
class Showcase:
    """Keeps of the images shown to it the eight with the most mistakes, and the four best."""

    images: int = 0
    worst: list[Sample] = field(default_factory=list)
    best: list[Sample] = field(default_factory=list)

    def add(self, annotation: Annotation, polygons: Sequence[Points], match: ImageMatch) -> None:
        """Show one image: its labels, the polygons detected, and how they matched."""
        sample = Sample(
            image=annotation.name,
            hmean=match.hmean,
            precision=match.precision,
            recall=match.recall,
            polygons={
                role: [_whole(polygon) for polygon in group[:_MOST_POLYGONS]]
                for role, group in by_role(annotation, polygons, match).items()
            },
        )
        self._take(1, [sample])

    def merge(self, other: Showcase) -> None:
        """Take in what another one kept of other images."""
        self._take(other.images, [*other.worst, *other.best])

    def write(
        self,
        folder: Path,
        hmean: float,
        epoch: int | None = None,
        train_loss: float | None = None,
    ) -> None:
        """Write the folder's samples.json; raises as `ocdnet.files.replacing`."""
        shown = {sample.image for sample in self.worst}
        best = [sample for sample in self.best if sample.image not in shown][:_BEST]
        loss = train_loss if train_loss is not None and math.isfinite(train_loss) else None
        samples = Samples(hmean, self.images, epoch, self.worst, best, loss)
        write_text(folder / SAMPLES, json.dumps(asdict(samples), allow_nan=False) + "\n")

    def _take(self, images: int, samples: Iterable[Sample]) -> None:
        self.images += images
        everything = {id(s): s for s in (*self.worst, *self.best, *samples)}.values()
        wrong = [sample for sample in everything if sample.mistakes]
        right = [sample for sample in everything if sample.count("right")]
        self.worst = heapq.nsmallest(_WORST, wrong, key=lambda s: (-s.mistakes, s.hmean, s.image))
        # A few more than are shown: some may turn out to be among the worst, too.
        self.best = heapq.nsmallest(
            _BEST + _WORST, right, key=lambda s: (-s.hmean, -s.count("right"), s.image)
        )


def read_samples(folder: Path) -> Samples | None:
    """The samples.json of a folder; None where there is none that is one."""
    path = folder / SAMPLES
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return None
        content = json.loads(path.read_bytes())
        return Samples(
            hmean=float(content["hmean"]),
            images=int(content["images"]),
            epoch=None if content["epoch"] is None else int(content["epoch"]),
            worst=[_sample(row) for row in content["worst"][:_WORST]],
            best=[_sample(row) for row in content["best"][:_BEST]],
            train_loss=_number(content.get("train_loss")),
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _sample(row: Mapping[str, Any]) -> Sample:
    polygons = {
        role: [_polygon(polygon) for polygon in row["polygons"][role][:_MOST_POLYGONS]]
        for role in ROLES
    }
    return Sample(
        image=str(row["image"]),
        hmean=float(row["hmean"]),
        precision=float(row["precision"]),
        recall=float(row["recall"]),
        polygons=polygons,
    )


def _polygon(numbers: Sequence[Any]) -> list[int]:
    """Coordinates of an untrusted file: ValueError unless they are pairs of sane numbers."""
    polygon = [int(number) for number in numbers]
    if len(polygon) < 6 or len(polygon) % 2 or max(map(abs, polygon)) > 10**6:
        raise ValueError("no polygon")
    return polygon


def by_role(
    annotation: Annotation, polygons: Sequence[Points], match: ImageMatch
) -> dict[str, list[Points]]:
    """The polygons [N, 2] of an image, in its pixels, for each of ROLES.

    Args:
        annotation: the labels.
        polygons: the polygons detected.
        match: how the two met.
    """
    # Polygons that cross themselves count on neither side: they play no role.
    truths, hits = ({pair[side] for pair in match.pairs} for side in (0, 1))
    dontcare, passed_over = set(match.gt_dontcare), set(match.det_dontcare)
    roles: dict[str, list[Points]] = {role: [] for role in ROLES}
    for number, polygon in enumerate(annotation.polygons):
        role = "found" if number in truths else "ignored" if number in dontcare else "missed"
        roles[role] += [polygon] if is_valid(polygon) else []
    for number, polygon in enumerate(polygons):
        role = "right" if number in hits else "ignored" if number in passed_over else "false"
        roles[role] += [polygon] if is_valid(polygon) else []
    return roles


def _whole(polygon: Points) -> list[int]:
    numbers: list[int] = np.rint(polygon).astype(int).ravel().tolist()
    return numbers
