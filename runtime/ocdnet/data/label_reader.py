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
        text, where = row.text, f"{label}:{row.line}"
        values, sound = self._in_order(row.values, label)
        if row.doubtful:
            kind = "numbers-in-outline" if self._reading.outlines else "numbers-as-text"
            self.doubts.add(kind, where)
        tagged = text in self._tags
        if not tagged and text[:1] and self._looks_tagged(text):
            text = self._unquoted_tag(text, label, where)
            tagged = text in self._tags
        column = self._reading.column
        if row.difficult or column == "flag" or (tagged and column == "script"):
            self.doubts.add(f"{column}-column", label)
        tagged = tagged or row.difficult
        flat = not tagged and not has_area(values)
        if not tagged and max(values) <= 1 and min(values) >= 0:
            self.doubts.add("relative-label" if any(values) else "zero-label", label)
        elif flat:
            self.doubts.add("flat-region", where)
        elif not sound:
            self.doubts.add("crossing-outline", where)
        return Region(values, text, tagged, flat)

    def _in_order(self, values: list[float], label: str) -> tuple[list[float], bool]:
        """Coordinates in order round the word, and whether their outline is sound."""
        quad = len(values) == 8
        if quad and is_convex_quad(values):
            return values, True
        mended = round_the_word(values) if quad else None
        sound = mended is not None or self._is_sound is None or self._is_sound(values)
        if not sound and self._is_sound and not quad:
            # Both edges of a word from left to right: the second one runs back in a sound outline.
            half = len(values) // 4 * 2
            turned = values[:half]
            for at in range(len(values) - 2, half - 2, -2):
                turned += values[at : at + 2]
            mended = turned if self._is_sound(turned) else None
        if mended is None:
            return values, sound
        self.doubts.add("mended-corners", label)
        return mended, True

    def _looks_tagged(self, text: str) -> bool:
        """Whether a transcription that is no ignore tag mentions one, or is made like one."""
        mentions = self._mentions_tag
        return not text.strip("#*") or bool(mentions and mentions(text))

    def _unquoted_tag(self, text: str, label: str, where: str) -> str:
        """The ignore tag that a transcription's quotes hold, else the transcription."""
        if self.evidence.is_tag(text):
            self.doubts.add("quoted-tag", label)
            return text[1:-1].strip()
        parts = (part.strip("\"'") for part in _PARTS.split(text))
        if not text.strip("#*") or not self._tags.isdisjoint(parts):
            self.doubts.add("hidden-tag", where)
        return text


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
    reading, last = PLAIN, False
    while True:
        reader, errors = start(reading), []
        for pair in pairs:
            try:
                read(reader, pair)
            except DataError as error:
                errors.append(error)
        better = reader.evidence.reading()
        if last or better == reading:
            return reader, errors
        reading, last = better, True
