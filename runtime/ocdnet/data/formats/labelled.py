"""What a reader of another format makes of a picture's labels, and how it takes odd values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ocdnet.data.labels import MAX_POINTS
from ocdnet.data.look import IGNORE_TAGS
from ocdnet.data.readings import COORDINATE_LIMIT

_WORDS = ("transcription", "text", "utf8_string", "ocr", "caption", "words")
"""Names under which formats keep a transcription."""
_IGNORED = (
    "ignore",
    "ignored",
    "difficult",
    "illegible",
    "unreadable",
    "dontcare",
    "dont_care",
    "iscrowd",
    "is_crowd",
)
_LEGIBLE = ("legible", "legibility", "readable")
_NOT_READ = frozenset({"ignore", "ignored", "dontcare", "don't care", "dont_care", "illegible"})
"""Classes of what is not to be read."""
_CLASSES = frozenset({"text", "word", "words", "line", "textline", "text_line", "text line"})
"""Classes that say that something is text, not which."""


class Malformed(Exception):
    """A part of a label file is not what its format has there; the text says what."""


class Shape(NamedTuple):
    """A text region.

    Attributes:
        values: coordinates x1, y1, ..., four points or more.
        text: transcription.
        ignore: not to be read.
        kind: of what shape it was.
    """

    values: list[float]
    text: str
    ignore: bool
    kind: str = "polygon"


class Labelled(NamedTuple):
    """A picture and its text regions.

    Attributes:
        image: its name or path as the label file has it; only its stem where `by_stem`.
        shapes: its regions.
        where: label file, and line or name in it.
        size: width and height that the label file tells.
        split: `train` or the like, where the label file tells.
        by_stem: the label file belongs to a picture of its own name.
        relative: coordinates are parts of width and height.
    """

    image: str
    shapes: list[Shape]
    where: str
    size: tuple[float, float] | None = None
    split: str = ""
    by_stem: bool = False
    relative: bool = False


def number(value: Any) -> float:
    """A finite number, also as text; raises Malformed."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not abs(found) < COORDINATE_LIMIT:
        raise Malformed(f"{str(value)[:40]!r} is no coordinate")
    return found


def outline(points: Any) -> list[float]:
    """Coordinates x1, y1, ... of points: pairs, or one flat list; four points or more.

    A last point that repeats the first is dropped. A triangle gets the middle of its longest edge
    as a fourth point.
    """
    values = coordinates(points)
    if len(values) % 2 or len(values) > 2 * MAX_POINTS:
        raise Malformed(f"{len(values)} coordinates")
    if len(values) > 6 and values[:2] == values[-2:]:
        del values[-2:]
    if len(values) < 6:
        raise Malformed(f"{len(values) // 2} points: a region has three or more")
    return _four(values) if len(values) == 6 else values


def coordinates(points: Any) -> list[float]:
    """The numbers x1, y1, ... of points: pairs, {x, y}, or one flat list."""
    if not isinstance(points, Sequence) or isinstance(points, str):
        raise Malformed("points are no list")
    values: list[float] = []
    for point in points:
        if isinstance(point, Mapping):
            values += [number(point.get("x")), number(point.get("y"))]
        elif isinstance(point, Sequence) and not isinstance(point, str):
            if len(point) < 2:
                raise Malformed("a point has less than two coordinates")
            values += [number(point[0]), number(point[1])]
        else:
            values.append(number(point))
    return values


def _four(values: list[float]) -> list[float]:
    corners = [(values[at], values[at + 1]) for at in (0, 2, 4)]
    edges = [(math.dist(corners[at], corners[(at + 1) % 3]), at) for at in range(3)]
    at = max(edges)[1]
    (x0, y0), (x1, y1) = corners[at], corners[(at + 1) % 3]
    corners.insert(at + 1, ((x0 + x1) / 2, (y0 + y1) / 2))
    return [value for corner in corners for value in corner]


def box(left: Any, top: Any, right: Any, bottom: Any) -> list[float]:
    """The corners of an upright rectangle, clockwise from its top left one."""
    x0, x1 = sorted((number(left), number(right)))
    y0, y1 = sorted((number(top), number(bottom)))
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def turned_box(
    centre: tuple[float, float], width: float, height: float, angle: float
) -> list[float]:
    """The corners of a rectangle that is turned clockwise, as seen, by an angle in radians."""
    x, y = centre
    cos, sin = math.cos(angle), math.sin(angle)
    values: list[float] = []
    for right, down in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        across, along = right * width / 2, down * height / 2
        values += [x + across * cos - along * sin, y + across * sin + along * cos]
    return values


def text_of(value: Any) -> str:
    """A transcription as text that UTF-8 can hold."""
    text = value if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def shape(
    values: list[float], label: Any, details: Iterable[Mapping[str, Any]], kind: str = "polygon"
) -> Shape:
    """A region by its class, and what a format keeps beside that (attributes, flags).

    The transcription is what the details have under a usual name. Ignored is what the class, the
    details or the transcription say.
    """
    text, ignored = "", False
    for detail in details:
        known = {str(name).strip().lower(): value for name, value in detail.items()}
        text = next((text_of(known[w]) for w in _WORDS if known.get(w) is not None), text)
        ignored = ignored or any(_yes(known.get(name)) for name in _IGNORED)
        ignored = ignored or any(_no(known.get(name)) for name in _LEGIBLE)
    ignored = ignored or is_class(label, _NOT_READ) or text.strip() in IGNORE_TAGS
    return Shape(values, text, ignored, kind)


def is_class(label: Any, classes: frozenset[str] = _CLASSES | _NOT_READ) -> bool:
    """Whether a label only says that something is text, or not to be read."""
    return text_of(label).strip().lower() in classes


def _yes(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in {"1", "true", "yes"}
    return bool(value)


def _no(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in {"0", "false", "no", "illegible"}
    return value is not None and not value


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """A JSON object; raises Malformed."""
    if not isinstance(value, Mapping):
        raise Malformed(f"{what} is no JSON object")
    return value


def sequence(value: Any, what: str) -> Sequence[Any]:
    """A JSON list; raises Malformed."""
    if not isinstance(value, list):
        raise Malformed(f"{what} is no list")
    return value


def size_of(width: Any, height: Any) -> tuple[float, float] | None:
    """Width and height, where they are numbers above 0."""
    try:
        size = number(width), number(height)
    except Malformed:
        return None
    return size if min(size) > 0 else None
