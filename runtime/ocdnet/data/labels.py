"""Label files: one text instance a line, in the styles of ICDAR2015, Uber-Text and Total-Text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from ocdnet.errors import DataError
from ocdnet.files import read_regular

_COORDINATE_LIMIT = 1e7
"""Sum of absolute coordinates that no image reaches: beyond it float32 loses pixels."""

_MOST_BYTES = 1 << 24
"""Of a label file: that of a page has a thousandth of it."""

_TOTAL_TEXT = re.compile(
    r"x:\s*\[\[([^][]*)\]\],\s*y:\s*\[\[([^][]*)\]\].*?transcriptions:\s*\[u?(['\"])(.*)\3\]", re.S
)
_TOTAL_TEXT_LINE = re.compile(r"^x:.*?(?=^x:|\Z)", re.MULTILINE | re.DOTALL)

Instance = tuple[list[float], str]
"""Coordinates x1, y1, ... (an even count, 8 or more) and the transcription."""


def instances(path: str | Path) -> Iterator[Instance]:
    """The text instances of a label file, a line each, in the file's order.

    ICDAR2015: `x1,y1,...,xN,yN,transcription`. The first eight fields must be finite numbers. The
    transcription is everything after the coordinates, stripped: it may hold commas and quotes, be
    empty or absent (then it is `""`). More than four points: a transcription may itself begin with
    numbers (`12,34`), so each further pair of numbers is a point only while it lies near those
    before it: inside their bounding box grown on each side by 1.5 times its longer side. The points
    of one word are neighbours; a price taken for a point almost never falls there, and numbers like
    `000` are no coordinates. What follows the last such pair is the transcription.

    Uber-Text: `x1 y1 ... xN yN<tab>transcription[<tab>kind]`; a last point that repeats the first
    is dropped.

    Total-Text: `x: [[...]], y: [[...]], ornt: [...], transcriptions: ['...']`, which may run over
    several lines; its `#`, for text that can't be read, becomes `###`.

    A byte order mark, CRLF ends and blank lines are accepted.

    Raises:
        DataError: the file is absent, not UTF-8, or a line can't be read (`file:line` is named).
    """
    text = read_text(path, "label file")
    if text.lstrip().startswith("x:"):
        for entry in _TOTAL_TEXT_LINE.finditer(text):
            number = text.count("\n", 0, entry.start()) + 1
            yield _total_text(entry[0]) or _refuse(entry[0], path, number)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split(",", 8)
        try:
            values = [float(field) for field in fields[:8]]
        except ValueError:
            values = []
        # A NaN makes the comparison false, like an infinity.
        if len(values) == 8 and sum(map(abs, values)) < _COORDINATE_LIMIT:
            rest = fields[8].strip() if len(fields) > 8 else ""
            if "," in rest and (rest[0].isdigit() or rest[0] in "-+."):
                yield _extend(values, rest)
            else:
                yield values, rest
        elif line and not line.isspace():
            yield _uber_text(line) or _refuse(line, path, number)


def _extend(values: list[float], rest: str) -> Instance:
    """Take the numbers that a transcription begins with for points while they lie near the others.

    `instances` says how near, and why.
    """
    fields = rest.split(",")
    extra: list[float] = []
    for field in fields:
        try:
            number = float(field)
        except ValueError:
            break
        if field[:1] == "0" and field[1:2].isdigit():  # the thousands of 10,000
            break
        extra.append(number)
    xs, ys = values[0::2], values[1::2]
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    taken = 0
    # From the near end on: each point that is taken moves the box along the word's outline.
    for x, y in zip(extra[0::2], extra[1::2], strict=False):
        growth = 1.5 * max(right - left, bottom - top)
        near_x = left - growth <= x <= right + growth
        if not (near_x and top - growth <= y <= bottom + growth):
            break
        left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
        taken += 2
    return values + extra[:taken], ",".join(fields[taken:]).strip()


def _uber_text(line: str) -> Instance | None:
    """The instance of a line in Uber-Text's style; None where it is none."""
    head, tab, rest = line.partition("\t")
    values = _numbers(head)
    if values[:2] == values[-2:]:
        values = values[:-2]
    return (values, rest.partition("\t")[0].strip()) if tab and _is_polygon(values) else None


def _total_text(entry: str) -> Instance | None:
    """The instance of an entry in Total-Text's style; None where it is none."""
    match = _TOTAL_TEXT.match(entry)
    if match is None:
        return None
    xs, ys = _numbers(match[1]), _numbers(match[2])
    values = [value for point in zip(xs, ys, strict=False) for value in point]
    text = "###" if match[4] == "#" else match[4]
    return (values, text) if len(xs) == len(ys) and _is_polygon(values) else None


def _numbers(text: str) -> list[float]:
    """The numbers between the blanks of a text; none where one of them is no number."""
    try:
        return [float(field) for field in text.split()]
    except ValueError:
        return []


def _is_polygon(values: list[float]) -> bool:
    whole = len(values) >= 8 and len(values) % 2 == 0
    return whole and sum(map(abs, values)) < _COORDINATE_LIMIT


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


def _refuse(line: str, path: str | Path, number: int) -> NoReturn:
    fields = line.split(",")
    count = 0
    for field in fields:
        try:
            usable = abs(float(field)) < _COORDINATE_LIMIT
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


def read_text(path: str | Path, kind: str, most: int = _MOST_BYTES) -> str:
    """A file's text without byte order mark, every line end a single line feed.

    Args:
        path: the file.
        kind: what it is, in errors: `label file`.
        most: bytes that it may have.

    Raises:
        DataError: it cannot be read or is not UTF-8.
    """
    try:
        raw = read_regular(path, most)
    except OSError as error:
        raise DataError(
            "unreadable-file",
            f"Cannot read the {kind} {path}: {error.strerror}",
            expected="a readable text file",
        ) from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            "not-utf8",
            f"{path}:{line}: the {kind} is not UTF-8",
            got=f"byte 0x{raw[error.start]:02x}",
            expected="UTF-8 text",
            hint=f"Convert it, e.g. iconv -f latin1 -t utf-8 {path}",
        ) from error
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text
