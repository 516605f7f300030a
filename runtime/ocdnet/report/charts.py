"""Curves as the geometry of an inline SVG: no library draws them, and no network is asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ocdnet.runs.history import Epoch

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 40
_MOST_DOTS, _MOST_POINTS = 60, 500
_MOST_EDGES, _GAP = 9, 1.5
_SMALLEST, _LARGEST = 1e-12, 1e12

Place = Callable[[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Curve:
    """One line of a chart.

    Attributes:
        label: its name in the legend.
        points: `x,y x,y ...` in the chart's pixels.
        dots: x, y and text of each point, where they are few.
    """

    label: str
    points: str
    dots: list[tuple[float, float, str]]


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
    """

    title: str
    x_label: str
    summary: str
    curves: list[Curve]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    bars: list[Bar] = field(default_factory=list)


@dataclass(frozen=True)
class Bar:
    """A column of a histogram: its place in pixels, and what it shows."""

    x: float
    y: float
    width: float
    height: float
    text: str


def chart(title: str, epochs: Sequence[Epoch], names: Mapping[str, str]) -> Chart | None:
    """A chart from zero upwards; None where nothing of it was measured.

    Args:
        title: what it shows.
        epochs: what was measured.
        names: key in `Epoch.values` -> label.
    """
    series = {label: _series(epochs, name) for name, label in names.items()}
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
        curves=[_curve(label, points, place) for label, points in series.items()],
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
    title: str, x_label: str, kinds: Sequence[Dots], names: Sequence[str] = (), *, log: bool = False
) -> Chart | None:
    """Points over x, their y between the least and the largest; None without points.

    Args:
        title: what it shows.
        x_label: what x is.
        kinds: at most three, each with its colour.
        names: of the values 0, 1, 2 ... of x, where x counts choices.
        log: whether x has a logarithmic axis; points at or below zero are left out then.
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
    place = _placer((first, last), (y_ticks[0], y_ticks[-1]))
    if names:
        marks = [(float(at), name) for at, name in enumerate(names)]
    elif log:
        marks = [(float(at), f"1e{at}") for at in range(math.ceil(first), math.floor(last) + 1)]
    else:
        marks = [(x, f"{x:g}") for x in ticks(first, last) if first <= x <= last]
    return Chart(
        title=title,
        x_label=x_label,
        summary=f"{title} over {x_label}: {len(points)} points.",
        curves=[_dotted(kind, some, place) for kind, some in kept],
        x_ticks=[(place(x, y_ticks[0])[0], text) for x, text in marks],
        y_ticks=[(place(first, y)[1], f"{y:g}") for y in y_ticks],
    )


def histogram(
    title: str, x_label: str, edges: Sequence[float], counts: Sequence[int], unit: str
) -> Chart:
    """Columns of equal width, whatever the distance of their edges.

    Args:
        title: what it shows.
        x_label: what is counted over.
        edges: where each column begins, at least one; the last has no end.
        counts: of each column.
        unit: what is counted, for its text.
    """
    y_ticks = ticks(0.0, float(max(counts)), whole=True)
    place = _placer((0.0, float(len(edges))), (0.0, y_ticks[-1]))
    every = math.ceil(len(edges) / _MOST_EDGES)
    ends = [f"below {high:g}" for high in edges[1:]] + [""]
    bars = []
    for number, (count, low, end) in enumerate(zip(counts, edges, ends, strict=True)):
        (left, top), (right, bottom) = place(number, count), place(number + 1, 0)
        text = f"{low:g} or more{f' and {end}' if end else ''}: {count} {unit}"
        width, height = right - left - 2 * _GAP, bottom - top
        bars.append(Bar(left + _GAP, top, round(width, 1), round(height, 1), text))
    most = bars[max(range(len(counts)), key=counts.__getitem__)].text
    return Chart(
        title=title,
        x_label=x_label,
        summary=f"{title} by {x_label}. Most: {most}.",
        curves=[],
        x_ticks=[(place(at, 0)[0], f"{low:g}") for at, low in enumerate(edges) if at % every == 0],
        y_ticks=[(place(0, y)[1], f"{y:g}") for y in y_ticks],
        bars=bars,
    )


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
