"""Curves as the geometry of an inline SVG: no library draws them, and no network is asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ocdnet.runs.history import Epoch

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 40
_MOST_DOTS, _MOST_POINTS = 60, 500
_MOST_EDGES, _GAP = 10, 1.5
_LETTER, _HEADROOM = 7.0, 0.92
"""Width of a letter in pixels; share of the height that is left to 1, below what stands above."""
_SMALLEST, _LARGEST = 1e-12, 1e12

Place = Callable[[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Curve:
    """One line of a chart.

    Attributes:
        label: its name in the legend.
        points: `x,y x,y ...` in the chart's pixels.
        dots: x, y and text of each point, where they are few.
        line: number of its colour and line, the same in all charts of what has one name.
    """

    label: str
    points: str
    dots: list[tuple[float, float, str]]
    line: int = 0


@dataclass(frozen=True)
class Chart:
    """A chart of WIDTH x HEIGHT, its plot between the margins.

    Attributes:
        title: what it shows.
        x_label: what it shows it over.
        summary: the same in a sentence, for who does not see it.
        curves: its lines.
        x_ticks: place and text of the marks below.
        y_ticks: of the marks at the left.
        bars: its columns.
        kinds: what its columns are, those that are full and those that are hollow.
        mark: place and text of a line from top to bottom.
        named: whether its lines are named: several were asked for, though one may be there.
    """

    title: str
    x_label: str
    summary: str
    curves: list[Curve]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    bars: list[Bar] = field(default_factory=list)
    kinds: tuple[str, ...] = ()
    mark: tuple[float, str] | None = None
    named: bool = False


@dataclass(frozen=True)
class Bar:
    """A column of a histogram: its place in pixels, and what it shows; `note` stands above it."""

    x: float
    y: float
    width: float
    height: float
    text: str
    hollow: bool = False
    note: str = ""


def chart(title: str, epochs: Sequence[Epoch], names: Mapping[str, str]) -> Chart | None:
    """A chart over the epochs from zero upwards; None where nothing of it was measured.

    Args:
        title: what it shows.
        epochs: what was measured.
        names: key in `Epoch.values` -> label.
    """
    return curves(title, {label: (epochs, name) for name, label in names.items()})


def curves(title: str, measured: Mapping[str, tuple[Sequence[Epoch], str]]) -> Chart | None:
    """A chart over the epochs of several runs, or values; None where nothing was measured.

    Args:
        title: what it shows.
        measured: label -> epochs, and the key in their `values`.
    """
    series = {label: _series(*of) for label, of in measured.items()}
    series = {label: points for label, points in series.items() if points}
    if not series:
        return None
    numbers = [x for points in series.values() for x, _ in points]
    first, last = min(numbers), max(numbers)
    largest = max(y for points in series.values() for _, y in points)
    y_ticks = ticks(0.0, largest if largest > _SMALLEST else 0.0)
    top = y_ticks[-1]

    place = _placer((first, last), (0.0, top))
    marks = sorted({first, *(x for x in ticks(first, last, whole=True) if first <= x <= last)})
    return Chart(
        title=title,
        x_label="epoch",
        summary=f"{title} over epochs {first} to {last}. {_ends(series)}",
        curves=[
            replace(_curve(label, series[label], place), line=number)
            for number, label in enumerate(measured)
            if label in series
        ],
        named=len(measured) > 1,
        x_ticks=[(place(x, 0)[0], f"{x:.0f}") for x in marks],
        y_ticks=[(place(first, y)[1], f"{y:g}") for y in y_ticks],
    )


@dataclass(frozen=True)
class Dots:
    """Points of one kind in a scatter chart.

    Attributes:
        label: its name in the legend.
        points: x, y and what a point is.
        joined: whether a line joins them.
    """

    label: str
    points: Sequence[tuple[float, float, str]]
    joined: bool = False


def scatter(
    title: str,
    x_label: str,
    kinds: Sequence[Dots],
    names: Sequence[str] = (),
    *,
    log: bool = False,
    shares: bool = False,
) -> Chart | None:
    """Points over x, their y between the least and the largest; None without points.

    Args:
        title: what it shows.
        x_label: what x is.
        kinds: at most six, each with its colour and line.
        names: of the values 0, 1, 2 ... of x, where x counts choices.
        log: whether x has a logarithmic axis; points at or below zero are left out then.
        shares: whether both axes go from 0 to 1.
    """
    kept = [(kind, [_scaled(p, log) for p in kind.points if _fits(p, log)]) for kind in kinds]
    kept = [(kind, points) for kind, points in kept if points]
    points = [point for _, some in kept for point in some]
    if not points:
        return None
    first, last = min(x for x, _, _ in points), max(x for x, _, _ in points)
    if names:
        first, last = -0.5, len(names) - 0.5
    y_ticks = ticks(min(y for _, y, _ in points), max(y for _, y, _ in points))
    if shares:
        (first, last), y_ticks = (0.0, 1.0), ticks(0.0, 1.0)
    place = _placer((first, last), (y_ticks[0], y_ticks[-1]))
    if names:
        room = int((WIDTH - LEFT - RIGHT) / len(names) / _LETTER)
        marks = [(float(at), _cut(name, room)) for at, name in enumerate(names)]
    elif log:
        marks = [(float(at), f"1e{at}") for at in range(math.ceil(first), math.floor(last) + 1)]
    else:
        marks = [(x, f"{x:g}") for x in ticks(first, last) if first <= x <= last]
    return Chart(
        title=title,
        x_label=x_label,
        summary=f"{title} over {x_label}: {len(points)} points.",
        curves=[replace(_dotted(kind, some, place), line=kinds.index(kind)) for kind, some in kept],
        named=len(kinds) > 1,
        x_ticks=[(place(x, y_ticks[0])[0], text) for x, text in marks],
        y_ticks=[(place(first, y)[1], f"{y:g}") for y in y_ticks],
    )


def histogram(
    title: str,
    x_label: str,
    edges: Sequence[float],
    counts: Sequence[int],
    unit: str,
    *,
    hollow: Sequence[int] = (),
    kinds: tuple[str, ...] = (),
    mark: tuple[float, str] | None = None,
) -> Chart:
    """Columns of equal width, whatever the distance of their edges.

    Args:
        title: what it shows.
        x_label: what is counted over.
        edges: where each column begins, at least one; the last has no end.
        counts: of each column.
        unit: what is counted, for its text.
        hollow: further counts of each column, that stand on the others.
        kinds: what the counts are, and the hollow ones.
        mark: a number of columns from the left, and what is there.
    """
    more = hollow or [0] * len(counts)
    y_ticks = ticks(0.0, float(max(map(sum, zip(counts, more, strict=True)))), whole=True)
    place = _placer((0.0, float(len(edges))), (0.0, y_ticks[-1]))
    texts = list(_spans(edges))
    full = [
        _bar(place, (number, 0, count), f"{texts[number]}: {count} {kinds[0] if kinds else unit}")
        for number, count in enumerate(counts)
    ]
    upon = [
        _bar(place, (at, low, high), f"{texts[at]}: {high} {kinds[1]}", hollow=True)
        for at, (low, high) in enumerate(zip(counts, hollow, strict=bool(hollow)))
    ]
    sums = [low + high for low, high in zip(counts, more, strict=True)]
    most = sums.index(max(sums))
    return Chart(
        title=title,
        x_label=x_label,
        summary=f"{title} by {x_label}. Most: {texts[most]}: {sums[most]} {unit}.",
        curves=[],
        x_ticks=_edge_ticks(place, edges),
        y_ticks=[(place(0, y)[1], f"{y:g}") for y in y_ticks],
        bars=[*full, *upon],
        kinds=kinds,
        mark=None if mark is None else (place(mark[0], 0)[0], mark[1]),
    )


def parts(
    title: str, x_label: str, edges: Sequence[float], wholes: Sequence[int], some: Sequence[int]
) -> Chart:
    """Columns as high as the share of what is found, their whole numbers above them.

    Args:
        title: what it shows.
        x_label: what the groups differ in.
        edges: where each group begins, at least one; the last has no end.
        wholes: texts of each group.
        some: those of them that are found.
    """
    y_ticks = ticks(0.0, 1.0)
    place = _placer((0.0, float(len(edges))), (0.0, 1.0 / _HEADROOM))
    bars, said = [], []
    for number, (text, whole, part) in enumerate(zip(_spans(edges), wholes, some, strict=True)):
        share = part / whole if whole else 0.0
        about = f"{text}: {part} of {whole} found" + (f", {share:.0%}" if whole else "")
        bars.append(replace(_bar(place, (number, 0, share), about), note=f"{whole}"))
        said += [about] if whole else []
    return Chart(
        title=title,
        x_label=x_label,
        summary=f"{title} by {x_label}. {'; '.join(said) or 'No text'}.",
        curves=[],
        x_ticks=_edge_ticks(place, edges),
        y_ticks=[(place(0, y)[1], f"{y:.0%}") for y in y_ticks],
        bars=bars,
    )


def _bar(place: Place, at: tuple[int, float, float], text: str, *, hollow: bool = False) -> Bar:
    """The column of (its number, where it begins, its height)."""
    number, low, high = at
    (left, top), (right, bottom) = place(number, low + high), place(number + 1, low)
    width, height = right - left - 2 * _GAP, bottom - top
    return Bar(left + _GAP, top, round(width, 1), round(height, 1), text, hollow)


def _spans(edges: Sequence[float]) -> Iterator[str]:
    for low, high in zip(edges, [*edges[1:], None], strict=True):
        yield f"{low:g} or more" + ("" if high is None else f" and below {high:g}")


def _edge_ticks(place: Place, edges: Sequence[float]) -> list[tuple[float, str]]:
    every = math.ceil(len(edges) / _MOST_EDGES)
    return [(place(at, 0)[0], f"{low:g}") for at, low in enumerate(edges) if at % every == 0]


def _cut(name: str, room: int) -> str:
    return name if len(name) <= max(room, 3) else f"{name[: max(room, 3) - 1]}…"


def _fits(point: tuple[float, float, str], log: bool) -> bool:
    x, y, _ = point
    return abs(x) < _LARGEST and abs(y) < _LARGEST and (x > _SMALLEST or not log)


def _scaled(point: tuple[float, float, str], log: bool) -> tuple[float, float, str]:
    return (math.log10(point[0]), *point[1:]) if log else point


def _placer(xs: tuple[float, float], ys: tuple[float, float]) -> Place:
    """From a value's x and y to pixels of the chart."""

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - xs[0]) / (xs[1] - xs[0]) if xs[1] > xs[0] else 0.5
        up = max(0.0, (y - ys[0]) / (ys[1] - ys[0]))
        return (
            round(LEFT + across * (WIDTH - LEFT - RIGHT), 1),
            round(HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM), 1),
        )

    return place


def _dotted(kind: Dots, points: Sequence[tuple[float, float, str]], place: Place) -> Curve:
    places = [place(x, y) for x, y, _ in points]
    joined = " ".join(f"{x:g},{y:g}" for x, y in places) if kind.joined else ""
    dots = [] if kind.joined else [(*at, p[2]) for at, p in zip(places, points, strict=True)]
    return Curve(kind.label, joined, dots[:_MOST_POINTS])


def ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """About five round numbers from at most `low` to at least `high`, which is not below it."""
    span = high - low or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(power * nice for nice in (1, 2, 2.5, 5, 10) if power * nice * 4 >= span * 0.999)
    if whole:
        step = max(1.0, round(step))
    start = math.floor(low / step)
    count = math.ceil(round(high / step, 6)) - start
    return [float(f"{(start + number) * step:.12g}") for number in range(max(1, count) + 1)]


def _series(epochs: Sequence[Epoch], name: str) -> list[tuple[int, float]]:
    return [
        (epoch.number, epoch.values[name])
        for epoch in epochs
        if abs(epoch.values.get(name, math.inf)) < _LARGEST
    ]


def _ends(series: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    return " ".join(
        f"{label}: from {points[0][1]:.4g} to {points[-1][1]:.4g}."
        for label, points in series.items()
    )


def _curve(label: str, points: Sequence[tuple[int, float]], place: Place) -> Curve:
    places = [place(x, y) for x, y in points]
    dots = [
        (*at, f"{label}, epoch {x}: {y:.4g}") for at, (x, y) in zip(places, points, strict=True)
    ]
    return Curve(
        label=label,
        points=" ".join(f"{x:g},{y:g}" for x, y in places),
        dots=dots if len(dots) <= _MOST_DOTS else [],
    )
