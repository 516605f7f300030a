"""Curves as the geometry of an inline SVG: no library draws them, and no network is asked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ocdnet.report.history import Epoch

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 40
_MOST_DOTS = 60
_SMALLEST, _LARGEST = 1e-12, 1e12


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
    """A chart over the epochs, WIDTH x HEIGHT, its plot between the margins.

    Attributes:
        title: what it shows.
        summary: the same in a sentence, for who does not see it.
        curves: its lines.
        x_ticks: place and text of the marks below.
        y_ticks: of the marks at the left.
    """

    title: str
    summary: str
    curves: list[Curve]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


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

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - first) / (last - first) if last > first else 0.5
        return (
            round(LEFT + across * (WIDTH - LEFT - RIGHT), 1),
            round(HEIGHT - BOTTOM - max(0.0, y / top) * (HEIGHT - TOP - BOTTOM), 1),
        )

    marks = sorted({first, *(x for x in ticks(first, last, whole=True) if first <= x <= last)})
    return Chart(
        title=title,
        summary=f"{title} over epochs {first} to {last}. {_ends(series)}",
        curves=[_curve(label, points, place) for label, points in series.items()],
        x_ticks=[(place(x, 0)[0], f"{x:.0f}") for x in marks],
        y_ticks=[(place(first, y)[1], f"{y:g}") for y in y_ticks],
    )


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


def _curve(label: str, points: Sequence[tuple[int, float]], place: object) -> Curve:
    places = [place(x, y) for x, y in points]  # type: ignore[operator]
    dots = [
        (*at, f"{label}, epoch {x}: {y:.4g}") for at, (x, y) in zip(places, points, strict=True)
    ]
    return Curve(
        label=label,
        points=" ".join(f"{x:g},{y:g}" for x, y in places),
        dots=dots if len(dots) <= _MOST_DOTS else [],
    )
