"""Why an evaluation scored what it did: in results.json, and picture by picture beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from ocdnet.errors import DataError
from ocdnet.files import open_regular
from ocdnet.mistake_kinds import FalseKind, MissKind
from ocdnet.runs.files import EXPLAINED
from ocdnet.runs.parsing import loads, parse
from ocdnet.runs.typed import Amount, Count, Record, Unit, record, to_json

MOST_POLYGONS = 1000
"""Of labels, and of regions, of one picture in the file."""
MOST_BYTES = 200_000_000
"""Of the file: the pictures after that are counted and not described."""
LONGEST_LINE = 4_000_000
"""Bytes of a line that is read."""


@record
class MissKinds(Record):
    """Texts without a match, by kind: ocdnet.mistake_kinds says when each holds."""

    missed: Count = 0
    """The map shows no region there."""
    low_score: Count = 0
    """A region is there, whose score is below box_thresh."""
    merged: Count = 0
    """One box covers several texts."""
    split: Count = 0
    """Several boxes lie on one text."""
    loose: Count = 0
    """The best box has an IoU of .3 to .5."""
    duplicate: Count = 0
    """Its box was matched with another label."""
    on_ignored: Count = 0
    """Its box lies mostly on ignored text."""


@record
class FalseKinds(Record):
    """Detections without a match, by kind: ocdnet.mistake_kinds says when each holds."""

    no_text: Count = 0
    """Nothing is labelled there."""
    merged: Count = 0
    """It covers several texts."""
    split: Count = 0
    """One of several boxes on a text without a match."""
    loose: Count = 0
    """Its best IoU with a text is .3 to .5."""
    duplicate: Count = 0
    """The text was matched with another box."""
    on_ignored: Count = 0
    """More than a quarter of it lies on ignored text."""


@record
class Mistakes(Record):
    """Every mistake, by kind."""

    misses: MissKinds
    """Their sum is gt_care - matched."""
    false_alarms: FalseKinds
    """Their sum is det_care - matched."""


@record
class Groups(Record):
    """Texts by a measure of theirs."""

    bounds: tuple[Amount, ...]
    """Lower bound of each group; the last one is open."""
    texts: tuple[Count, ...]
    """Texts that count."""
    found: tuple[Count, ...]
    """Those that are matched."""


@record
class Grid(Record):
    """Texts by the ninth of the picture that holds their centre, row by row from the top left."""

    texts: tuple[Count, ...]
    found: tuple[Count, ...]


@record
class RecallBy(Record):
    """Which texts are found."""

    height: Groups
    """Short side of the text in pixels of the picture."""
    angle: Groups
    """Degrees between its long side and the horizontal, 0 to 90."""
    length: Groups
    """Its long side as a multiple of the short one."""
    place: Grid


@record
class Curve(Record):
    """What other values of box_thresh would score, all else the same: precision and recall."""

    box_thresh: tuple[Unit, ...]
    precision: tuple[Unit, ...]
    recall: tuple[Unit, ...]
    hmean: tuple[Unit, ...]


@record
class BoxScores(Record):
    """Regions that count by their score, in steps of .05 from 0; those below box_thresh, too."""

    matched: tuple[Count, ...]
    """Regions that match a text, or would with a lower box_thresh."""
    unmatched: tuple[Count, ...]


@record
class CocoScores(Record):
    """Average precision as COCO computes it, over polygons; ignored text as its crowds."""

    ap: Unit
    """Mean over IoU .50 to .95."""
    ap50: Unit
    ap75: Unit


@record
class ExplainedLabel(Record):
    """A label of a picture."""

    polygon: tuple[int, ...]
    """x1, y1, x2, y2 ... in whole pixels."""
    role: Literal["found", "missed", "ignored"]
    kind: MissKind | None = None
    """Of missed ones."""
    iou: Unit | None = None
    """Best IoU that a detection has with it, of missed and found ones."""
    score: Unit | None = None
    """Of low_score: that of the region there."""


@record
class ExplainedRegion(Record):
    """A region that was found in a picture."""

    polygon: tuple[int, ...]
    """x1, y1, x2, y2 ... in whole pixels."""
    score: Unit
    role: Literal["right", "false", "ignored", "low"]
    """low: below box_thresh, so it is no detection."""
    kind: FalseKind | None = None
    """Of false ones."""
    iou: Unit | None = None
    """Best IoU with a text, of false and right ones."""


@record
class ExplainedImage(Record):
    """One line of explained.jsonl: a picture, its labels and what was found."""

    image: str
    width: Count
    height: Count
    labels: tuple[ExplainedLabel, ...]
    regions: tuple[ExplainedRegion, ...]

    @property
    def mistakes(self) -> int:
        """Missed texts and false detections."""
        missed = sum(label.role == "missed" for label in self.labels)
        return missed + sum(region.role == "false" for region in self.regions)


def read_explained(folder: Path, most: int | None = None) -> Iterator[ExplainedImage]:
    """The pictures of a folder's explained.jsonl in order; none where there is no such file.

    Lines that are none of ours are passed over.

    Args:
        folder: of an evaluation.
        most: pictures that are read at most.
    """
    path = folder / EXPLAINED
    try:
        file = open_regular(path)
    except OSError:
        return
    with file, open(file.fileno(), "rb", closefd=False) as lines:
        for line in islice(iter(lambda: lines.readline(LONGEST_LINE), b""), most):
            try:
                yield parse(ExplainedImage, loads(line), path.name)
            except (ValueError, DataError):
                continue


def as_line(image: ExplainedImage) -> str:
    """A picture as one line of the file."""
    return json.dumps(to_json(image), allow_nan=False, separators=(",", ":")) + "\n"
