"""What the page is told of a picture: outlines and what each means, doubts, marks to filter by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ocdnet.mistake_kinds import FALSE_KINDS, MISS_KINDS

NO_LABELS, NO_TEXT, IGNORED, DOUBTFUL, BAD_LABELS = (
    "no-labels",
    "no-text",
    "ignored",
    "doubtful",
    "bad-labels",
)
MISTAKES, NOTHING_FOUND, NOT_READ = "mistakes", "nothing-found", "not-read"


def _spelt(kind: str) -> str:
    return "no region there" if kind == "missed" else kind.replace("_", " ")


MARKS: dict[str, str] = {
    MISTAKES: "any mistake",
    **{f"missed:{kind}": f"missed: {_spelt(kind)}" for kind in reversed(MISS_KINDS)},
    **{f"false:{kind}": f"false alarm: {_spelt(kind)}" for kind in reversed(FALSE_KINDS)},
    NOTHING_FOUND: "nothing found",
    NOT_READ: "the run could not read it",
    NO_LABELS: "without a label file",
    NO_TEXT: "labelled, without text",
    IGNORED: "with ignored text",
    DOUBTFUL: "doubtful labels",
    BAD_LABELS: "labels that can't be read",
}
"""What pictures are filtered by, and what the page calls it."""
BITS = {mark: 1 << place for place, mark in enumerate(MARKS)}


@dataclass(frozen=True, slots=True)
class Shape:
    """An outline on a picture.

    Attributes:
        polygon: x1, y1, x2, y2, ... in pixels of the picture.
        role: label, found, missed, ignored (of labels); region, right, false, low, ignored.
        kind: of a mistake.
        iou: best IoU with one of the other side.
        score: of a region, or of the region below a missed text.
        text: of a label.
    """

    polygon: Sequence[float]
    role: str
    kind: str | None = None
    iou: float | None = None
    score: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Details:
    """What is known of a picture beside its pixels.

    Attributes:
        labels: outlines that were labelled; None: nobody labelled it.
        regions: that were found; None: nobody looked.
        doubts: sentences about its labels.
        error: why its labels, or what was found, can't be shown.
    """

    labels: list[Shape] | None = None
    regions: list[Shape] | None = None
    doubts: list[str] = field(default_factory=list)
    error: str = ""

    def document(self) -> dict[str, Any]:
        """It as JSON has it."""
        return asdict(self)


def bits_of(marks: Iterable[str]) -> int:
    """Marks as one number."""
    together = 0
    for mark in marks:
        together |= BITS[mark]
    return together


def counted(pictures: int, rest: str = "") -> str:
    """Pictures with their number, and the rest of the sentence."""
    return f"{pictures:,} picture{'' if pictures == 1 else 's'}{rest}"
