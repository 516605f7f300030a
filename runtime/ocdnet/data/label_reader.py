"""The text regions of a set's label files: corners in order, ignored or not, doubts counted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ocdnet.data.doubts import Doubts
from ocdnet.data.labels import Instance, has_area, instances, is_convex_quad, round_the_word
from ocdnet.data.readings import PLAIN, Evidence, Reading
from ocdnet.errors import DataError

_PARTS = re.compile(r"[,;\t ]+")


class Region(NamedTuple):
    """A text region of an image."""

    values: list[float]
    """Coordinates x1, y1, ..., round the word."""
    text: str
    tagged: bool
    """Ignored, as its transcription or its line says."""
    flat: bool
    """Ignored, since it has no area."""


class LabelReader:
    """Reads the label files of one set.

    Args:
        tags: transcriptions of regions to ignore.
        reading: of the set's lines.
        is_sound: whether a polygon x1, y1, ... neither crosses nor touches itself; None: not
            asked (it needs numpy).

    Attributes:
        evidence: how its lines should be read.
        doubts: what was doubtful in them.
    """

    def __init__(
        self,
        tags: Iterable[str],
        reading: Reading = PLAIN,
        is_sound: Callable[[list[float]], bool] | None = None,
    ) -> None:
        self._tags, self._reading, self._is_sound = frozenset(tags), reading, is_sound
        self.evidence, self.doubts = Evidence(self._tags), Doubts()
        some = "|".join(re.escape(tag) for tag in self._tags if tag)
        self._mentions_tag = re.compile(some).search if some else None

    def read(self, image: str, label: str) -> list[Region]:
        """The regions of an image; `instances` says what is refused."""
        # All of a file or nothing: what a bad file shows does not count.
        rows = list(instances(label, self._reading, self.evidence))
        regions = [self._region(row, label) for row in rows]
        self.doubts.see(image, label, [region.values for region in regions])
        return regions

    def _region(self, row: Instance, label: str) -> Region:
        values, text, line, difficult, doubtful = row
        convex = len(values) == 8 and is_convex_quad(values)
        if len(values) == 8 and not convex and (mended := round_the_word(values)):
            values, convex = mended, True
            self.doubts.add("mended-corners", label)
        if doubtful:
            kind = "numbers-in-outline" if self._reading.counts else "numbers-as-text"
            self.doubts.add(kind, f"{label}:{line}")
        tagged = text in self._tags
        if not tagged and self._mentions_tag and self._mentions_tag(text):
            text = self._unquoted_tag(text, f"{label}:{line}")
            tagged = text in self._tags
        if difficult or (tagged and self._reading.column == "script"):
            self.doubts.add(f"{self._reading.column}-column", label)
        tagged = tagged or difficult
        flat = not tagged and not has_area(values)
        if not tagged:
            self._look(values, flat, convex, f"{label}:{line}")
        return Region(values, text, tagged, flat)

    def _unquoted_tag(self, text: str, where: str) -> str:
        """The ignore tag that a transcription's quotes hold, else the transcription."""
        if self.evidence.is_tag(text):
            self.doubts.add("quoted-tag", where.rpartition(":")[0])
            return text[1:-1].strip()
        if not self._tags.isdisjoint(part.strip("\"'") for part in _PARTS.split(text)):
            self.doubts.add("hidden-tag", where)
        return text

    def _look(self, values: list[float], flat: bool, convex: bool, where: str) -> None:
        """Count what is doubtful in the outline of a region that is not ignored by its tag."""
        if max(values) <= 1 and min(values) >= 0:
            kind = "relative-label" if any(values) else "zero-label"
            self.doubts.add(kind, where.rpartition(":")[0])
        elif flat:
            self.doubts.add("flat-region", where)
        elif not convex and self._is_sound and not self._is_sound(values):
            self.doubts.add("crossing-outline", where)


def read_set(
    pairs: Iterable[tuple[str, str]],
    start: Callable[[Reading], LabelReader],
    read: Callable[[LabelReader, tuple[str, str]], None],
) -> tuple[LabelReader, list[DataError]]:
    """Read the label files of a set, a second time where its lines turn out to have another form.

    Args:
        pairs: image and label file; iterated once or twice.
        start: makes the reader of a form; what an earlier one has read does not count any more.
        read: reads a pair.

    Returns:
        The last reader, and the errors of the files that can't be read.
    """
    reading = PLAIN
    while True:
        reader, errors = start(reading), []
        for pair in pairs:
            try:
                read(reader, pair)
            except DataError as error:
                errors.append(error)
        better = reader.evidence.reading()
        if better == reading:
            return reader, errors
        reading = better
