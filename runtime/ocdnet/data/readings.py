"""How the lines of one set are read beyond ICDAR2015's form, decided from all of its lines."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

COORDINATE_LIMIT = 1e7
"""What no coordinate reaches, nor the sum of a quad's: beyond it float32 loses pixels."""

_NUMBER = re.compile(
    r"\s*[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,2})?\s*"
)
"""A number as coordinates are written: not `000`, the thousands of 10,000."""
_QUOTES = "\"'`\u201c\u201d\u2018\u2019"
_BARE_FROM = 4
"""Numbers behind a quad from which they are points, and not a price or a date."""
_NUMBERS_IN_A_TEXT = 4
_NEARLY_ALL = 0.95
_MOST_SCRIPTS = 20
_SCRIPTS = frozenset(
    [
        *("arabic", "bangla", "bengali", "chinese", "devanagari", "hindi", "japanese", "korean"),
        *("latin", "mixed", "none", "symbols"),
    ]
)
"""What ICDAR2017's and 2019's MLT put before a transcription, in lower case."""


@dataclass(frozen=True, slots=True)
class Tail:
    """What follows the eight numbers of a quad in a line.

    Attributes:
        fields: between the commas.
        numbers: that the fields begin with.
    """

    fields: list[str]
    numbers: list[float]

    @classmethod
    def of(cls, rest: str) -> Tail:
        """The tail of a line."""
        fields, numbers = rest.split(","), []
        for text in fields:
            if not _NUMBER.fullmatch(text) or abs(value := float(text)) >= COORDINATE_LIMIT:
                break
            numbers.append(value)
        return cls(fields, numbers)

    @property
    def alone(self) -> bool:
        """Whether there is nothing but numbers."""
        return len(self.numbers) == len(self.fields)

    @property
    def whole(self) -> int:
        """How many of the numbers make whole points."""
        return len(self.numbers) - len(self.numbers) % 2

    @property
    def is_detection(self) -> bool:
        """Whether it is points and a score, as our own inference writes them."""
        numbers = self.numbers
        odd = self.alone and len(numbers) >= 3 and len(numbers) % 2 == 1
        return odd and "." in self.fields[-1] and 0 <= numbers[-1] <= 1

    def text(self, numbers: int) -> str:
        """The transcription behind some of the numbers."""
        return ",".join(self.fields[numbers:]).strip()


@dataclass(frozen=True, slots=True)
class Reading:
    """What the lines of a set hold beyond four corners and a transcription.

    Attributes:
        outlines: whether lines can have more than four points; else every line is a quad.
        counts: how many coordinates lines with a transcription have.
        bare: whether lines with more than four points have no transcription.
        column: what stands before each transcription: `script` (MLT), `difficult` (RCTW), `flag`
            (0 or 1, before or behind it, that is read as text, as nothing shows which of them is
            ignored), nothing.
    """

    outlines: bool = False
    counts: frozenset[int] = frozenset()
    bare: bool = False
    column: str = ""

    def coordinates(self, tail: Tail) -> tuple[int, bool]:
        """How many of a tail's numbers are coordinates, and whether that is in doubt."""
        whole = tail.whole
        if tail.is_detection:
            return whole, False
        if not self.outlines:
            return 0, whole >= 2 and not self.column
        if not tail.alone or self.bare or 8 + whole in self.counts:
            return whole, False
        known = (n - 8 for n in self.counts if 0 < 8 + whole - n <= _NUMBERS_IN_A_TEXT)
        return max(known, default=whole), True

    def text(self, text: str) -> tuple[str, bool]:
        """A transcription without its column, and whether that says that it is difficult."""
        first, comma, rest = text.partition(",")
        flag = first.strip()
        read = self.column == "script" or (self.column == "difficult" and flag in {"0", "1"})
        if not comma or not read:
            return text, False
        return rest.strip(), self.column == "difficult" and flag == "1"


PLAIN = Reading()
"""ICDAR2015's form: four corners, and all that follows is the transcription."""


@dataclass(slots=True)
class Evidence:
    """What the lines of a set show about their form.

    Attributes:
        tags: the ignore tags.
        cared: lines whose transcription is no ignore tag: of quads, of more points.
        tagged: lines whose transcription is an ignore tag: of quads, of more points.
    """

    tags: frozenset[str]
    cared: list[int] = field(default_factory=lambda: [0, 0])
    tagged: list[int] = field(default_factory=lambda: [0, 0])
    _counts: Counter[int] = field(default_factory=Counter)
    _alone: int = 0
    _bare: int = 0
    _scripts: Counter[str] = field(default_factory=Counter)
    _flags: Counter[str] = field(default_factory=Counter)
    _flags_behind: Counter[str] = field(default_factory=Counter)
    _quoted: int = 0
    _hidden_tags: int = 0

    def see(self, tail: Tail) -> None:
        """Count a line with commas behind its quad."""
        if tail.is_detection:
            return
        text = tail.text(tail.whole)
        # What begins with a digit, or is nothing, may be the end of a price or a date.
        flagged = text.startswith(("0,", "1,"))
        sure = not tail.alone and (flagged or not text[:1].isdigit())
        longer = len(tail.numbers) >= (2 if sure else _BARE_FROM)
        (self.tagged if self.is_tag(text) else self.cared)[longer] += 1
        if longer and tail.alone and not text:
            self._bare += 1
        elif longer:
            self._counts[8 + tail.whole] += 1
        if tail.alone:
            self._alone += 1
        else:
            self._see_column(text)

    def see_plain(self, text: str) -> None:
        """Count a quad whose transcription has no comma."""
        if text:
            (self.tagged if self.is_tag(text) else self.cared)[0] += 1

    def is_tag(self, text: str) -> bool:
        """Whether a transcription, or what its quotes hold, is an ignore tag."""
        return text in self.tags or (text[:1] in _QUOTES and _unquoted(text) in self.tags)

    def _see_column(self, text: str) -> None:
        first, comma, rest = text.partition(",")
        first, rest = first.strip(), rest.strip()
        if not comma:
            return
        if first in {"0", "1"}:
            self._flags[first] += 1
            self._quoted += bool(rest) and rest[0] in _QUOTES
            return
        if (last := text.rpartition(",")[2].strip()) in {"0", "1"}:
            self._flags_behind[last] += 1
        if re.fullmatch(r"[^\W\d][\w -]*", first):
            if len(self._scripts) <= _MOST_SCRIPTS or first in self._scripts:
                self._scripts[first] += 1
            self._hidden_tags += self.is_tag(rest)

    def reading(self) -> Reading:
        """How the set is read: more points only where most of its lines with text have them."""
        quads, longer = self.cared if any(self.cared) else self.tagged
        if longer <= quads:
            return Reading(column=self._column())
        words = sum(self._counts.values())
        plain = {8} if self.cared[0] + self.tagged[0] else set()
        return Reading(True, frozenset(self._counts) | plain, self._bare > words, self._column())

    def _column(self) -> str:
        """What stands before each transcription, where that hides ignored text."""
        lines = sum(self.cared) - self._alone
        flags, scripts = self._flags, self._scripts
        flagged = sum(flags.values())
        if flags["1"] and flagged >= _NEARLY_ALL * lines:
            quoted = self._quoted >= _NEARLY_ALL * flagged
            clear = flags["0"] and (quoted or flags["1"] <= flags["0"])
            return "difficult" if clear else "flag"
        if self._flags_behind["1"] and sum(self._flags_behind.values()) >= _NEARLY_ALL * lines:
            return "flag"
        known = {name.lower() for name in scripts} <= _SCRIPTS
        enough = sum(scripts.values()) >= (0.5 if known else _NEARLY_ALL) * lines
        if self._hidden_tags and enough and len(scripts) <= _MOST_SCRIPTS:
            return "script"
        return ""


def _unquoted(text: str) -> str:
    """A transcription without the quotes around it."""
    if len(text) > 1 and text[0] in _QUOTES and text[-1] in _QUOTES:
        return text[1:-1].strip()
    return text
