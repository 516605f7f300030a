"""What a line that is no label line looks like, in words that say how to go on."""

from __future__ import annotations

import re

_PARTS = re.compile(r"[\s,;|]+")
_HEADER = re.compile(
    r"\bx_?[0-9]|\b(?:xmin|left|transcription|points|polygon|bbox|label|file_?name|image)\b", re.I
)


def format_of(line: str) -> str | None:
    """A sentence about the format of a line that can't be read; None where it is not known."""
    line = line.strip()
    if line.startswith("<"):
        return "It looks like XML; only lines of text are read"
    if line.startswith(("{", "[")):
        return "It looks like JSON; only lines of text are read"
    numbers = _leading_numbers(_PARTS.split(line))
    if not numbers:
        if _HEADER.search(line):
            return "It looks like a header: remove it (sed -i 1d FILE, where it is the first line)"
        return None
    return _of_numbers(line, numbers)


def _of_numbers(line: str, numbers: list[float]) -> str | None:
    count = len(numbers)
    if count == 5 and all(0 <= number <= 1 for number in numbers[1:]):
        return "It looks like YOLO's: class and a box in parts of width and height"
    if count in {4, 5}:
        return (
            "It looks like a box of 4 numbers (left,top,right,bottom, as in ICDAR2013, or"
            " left,top,width,height): write its four corners instead"
        )
    if count in {6, 7}:
        return "It looks like 3 points: a region has 4 or more"
    if count >= 8 and line.count(",") < 7:
        return "Its numbers are not separated by commas: sed -i 's/[; \\t]/,/g' puts them there"
    return None


def _leading_numbers(parts: list[str]) -> list[float]:
    numbers: list[float] = []
    for part in parts:
        try:
            numbers.append(float(part))
        except ValueError:
            break
    return numbers
