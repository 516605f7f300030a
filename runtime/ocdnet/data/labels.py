"""Label files: one text instance a line, in the styles of ICDAR2015, Uber-Text and Total-Text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from ocdnet.data.readings import COORDINATE_LIMIT, PLAIN, Evidence, Reading, Tail
from ocdnet.data.text_files import read_text
from ocdnet.errors import DataError

MAX_POINTS = 10_000
"""Points of a text region: whether a polygon crosses itself takes more time with each."""

_TOTAL_TEXT = re.compile(r"\s*x:\s*\[\[([^][]*)\]\],\s*y:\s*\[\[([^][]*)\]\]")
_TRANSCRIPTION = re.compile(r"\s*\[u?(['\"])")
_TOTAL_TEXT_START = re.compile(r"^[^\S\n]*x:", re.MULTILINE)


class Instance(NamedTuple):
    """One text instance of a label file."""

    values: list[float]
    """Coordinates x1, y1, ...: an even count, 8 or more."""
    text: str
    """The transcription."""
    line: int
    """Its number in the file."""
    difficult: bool = False
    """Whether a column of the line says that the text is not to be read."""
    doubtful: bool = False
    """Whether numbers of the line could be coordinates as well as text."""


def instances(
    path: str | Path, reading: Reading = PLAIN, evidence: Evidence | None = None
) -> Iterator[Instance]:
    """The text instances of a label file, a line each, in the file's order.

    ICDAR2015: `x1,y1,...,xN,yN,transcription`. The first eight fields must be finite numbers. The
    transcription is everything after the coordinates, stripped: it may hold commas and quotes, be
    empty or absent (then it is `""`). It may itself begin with numbers (`12,34`), so a line is a
    quad unless the reading of its set says otherwise, or it ends as a detection of ours does.

    Uber-Text: `x1 y1 ... xN yN<tab>transcription[<tab>kind]`; a last point that repeats the first
    is dropped.

    Total-Text: `x: [[...]], y: [[...]], ornt: [...], transcriptions: ['...']`, which may run over
    several lines; its `#`, for text that can't be read, becomes `###`.

    A byte order mark, CRLF ends and blank lines are accepted.

    Args:
        path: the file.
        reading: of the set that the file belongs to.
        evidence: told what the lines show about that reading.

    Raises:
        DataError: the file is absent, not UTF-8, a line can't be read (`file:line` is named) or
            has more than MAX_POINTS points.
    """
    text = read_text(path, "label file")
    if text.lstrip().startswith("x:"):
        yield from _total_text_entries(text, path)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not line:
            continue
        fields = line.split(",", 8)
        try:
            values = [float(field) for field in fields[:8]]
        except ValueError:
            values = []
        # A NaN makes the comparison false, like an infinity.
        if len(values) == 8 and sum(map(abs, values)) < COORDINATE_LIMIT:
            rest = fields[8].strip() if len(fields) > 8 else ""
            if "," in rest:
                yield _with_tail(values, Tail.of(rest), number, reading, evidence, path)
            else:
                if evidence:
                    evidence.see_plain(rest)
                yield Instance(values, rest, number)
        elif not line.isspace():
            yield _uber_text(line, number, path) or _refuse(line, path, number)


def _with_tail(
    quad: list[float],
    tail: Tail,
    number: int,
    reading: Reading,
    evidence: Evidence | None,
    path: str | Path,
) -> Instance:
    """The instance of a quad and what follows it: more points, a column, a transcription."""
    if evidence:
        evidence.see(tail)
    taken, doubtful = reading.coordinates(tail)
    if taken and not _is_polygon(quad + tail.numbers[:taken], path, number):
        _refuse(",".join([*map(str, quad), *tail.fields]), path, number)
    text, difficult = reading.text(tail.text(taken))
    return Instance(quad + tail.numbers[:taken], text, number, difficult, doubtful)


def _uber_text(line: str, number: int, path: str | Path) -> Instance | None:
    """The instance of a line in Uber-Text's style; None where it is none."""
    head, tab, rest = line.partition("\t")
    values = _numbers(head)
    if values[:2] == values[-2:]:
        values = values[:-2]
    if not tab or not _is_polygon(values, path, number):
        return None
    return Instance(values, rest.partition("\t")[0].strip(), number)


def _total_text_entries(text: str, path: str | Path) -> Iterator[Instance]:
    starts = [match.start() for match in _TOTAL_TEXT_START.finditer(text)]
    number = 1 + text.count("\n", 0, starts[0])
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        entry = text[start:end]
        yield _total_text(entry, number, path) or _refuse(entry, path, number)
        number += entry.count("\n")


def _total_text(entry: str, number: int, path: str | Path) -> Instance | None:
    """The instance of an entry in Total-Text's style; None where it is none."""
    match = _TOTAL_TEXT.match(entry)
    rest = entry[match.end() :].partition("transcriptions:")[2] if match else ""
    quote = _TRANSCRIPTION.match(rest)
    end = rest.rfind(f"{quote[1]}]") if quote else -1
    if match is None or quote is None or end < quote.end() or rest[end + 2 :].strip():
        return None
    xs, ys = _numbers(match[1]), _numbers(match[2])
    values = [value for point in zip(xs, ys, strict=False) for value in point]
    text = rest[quote.end() : end]
    if len(xs) != len(ys) or not _is_polygon(values, path, number):
        return None
    return Instance(values, "###" if text == "#" else text, number)


def _numbers(text: str) -> list[float]:
    """The numbers between the blanks of a text; none where one of them is no number."""
    try:
        return [float(field) for field in text.split()]
    except ValueError:
        return []


def _is_polygon(values: list[float], path: str | Path, number: int) -> bool:
    """Whether values are the coordinates of a polygon; raises where it has too many points."""
    if len(values) > 2 * MAX_POINTS:
        raise DataError(
            "too-many-points",
            f"{path}:{number}: a text region of {len(values) // 2} points",
            got=len(values) // 2,
            expected=f"at most {MAX_POINTS} points",
            hint="Thin out its outline: a few dozen points are enough for a word.",
        )
    whole = len(values) >= 8 and len(values) % 2 == 0
    return whole and all(abs(value) < COORDINATE_LIMIT for value in values)


def has_area(values: Sequence[float]) -> bool:
    """Whether the polygon x1, y1, x2, y2, ... encloses anything (shoelace formula)."""
    if len(values) == 8:  # the same sum, by the diagonals: a fifth of the time
        x0, y0, x1, y1, x2, y2, x3, y3 = values
        return abs((x2 - x0) * (y3 - y1) - (x3 - x1) * (y2 - y0)) > 1e-6
    doubled = 0.0
    last_x, last_y = values[-2], values[-1]
    for x, y in zip(values[0::2], values[1::2], strict=True):
        doubled += last_x * y - x * last_y
        last_x, last_y = x, y
    return abs(doubled) > 1e-6


def is_convex_quad(values: list[float]) -> bool:
    """Whether four corners go round a convex quad, in either winding, all of them turning."""
    x0, y0, x1, y1, x2, y2, x3, y3 = values
    # The ends of each diagonal lie on both sides of the other one.
    one = (x2 - x0) * (y1 - y0) - (y2 - y0) * (x1 - x0)
    three = (x2 - x0) * (y3 - y0) - (y2 - y0) * (x3 - x0)
    nought = (x3 - x1) * (y0 - y1) - (y3 - y1) * (x0 - x1)
    two = (x3 - x1) * (y2 - y1) - (y3 - y1) * (x2 - x1)
    return one * three < 0 and nought * two < 0


def round_the_word(values: list[float]) -> list[float] | None:
    """The corners of a quad whose edges cross, in order round it; None where they don't cross.

    The first corner stays the first. Four corners cross in two ways: the first edge with the third,
    or the second with the fourth; the order is right again when two neighbours change places.
    """
    corners = list(zip(values[0::2], values[1::2], strict=True))
    for first, order in ((0, (0, 2, 1, 3)), (1, (0, 1, 3, 2))):
        a, b, c, d = (corners[(first + step) % 4] for step in range(4))
        if _cross(a, b, c, d):
            return [value for corner in order for value in corners[corner]]
    return None


_Point = tuple[float, float]


def _cross(a: _Point, b: _Point, c: _Point, d: _Point) -> bool:
    """Whether the edges a-b and c-d cross within both."""

    def side(start: _Point, end: _Point, point: _Point) -> float:
        across = (end[0] - start[0]) * (point[1] - start[1])
        return across - (end[1] - start[1]) * (point[0] - start[0])

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


def _refuse(line: str, path: str | Path, number: int) -> NoReturn:
    fields = line.split(",")
    count = 0
    for field in fields:
        try:
            usable = abs(float(field)) < COORDINATE_LIMIT
        except ValueError:
            usable = False
        if not usable:
            break
        count += 1
    where = f"{path}:{number}"
    if count < min(len(fields), 8):
        detail = f"field {count + 1} is not a coordinate: {fields[count].strip()[:40]!r}"
    else:
        detail = f"{count} coordinates are too few or too large"
    raise DataError(
        "bad-label-line",
        f"{where}: {detail}",
        got=line.strip()[:120],
        expected="x1,y1,x2,y2,x3,y3,x4,y4,transcription: four points or more, finite numbers "
        "(or a line of Uber-Text or Total-Text)",
        hint=f"Correct line {number} of {path}, or remove it.",
    )
