"""Curves: points where they belong, marks that are round, nothing outside of the plot."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocdnet.report import charts
from ocdnet.report.charts import chart, histogram, ticks
from ocdnet.runs.history import Epoch


def epochs(*values, name="hmean"):
    return [Epoch(n, {} if v is None else {name: v}) for n, v in enumerate(values, start=1)]


def places(curve):
    return [tuple(map(float, point.split(","))) for point in curve.points.split()]


def test_a_curve_goes_from_corner_to_corner():
    drawn = chart("Scores", epochs(0.0, 0.5, 1.0), {"hmean": "hmean"})
    left, right = charts.LEFT, charts.WIDTH - charts.RIGHT
    top, bottom = charts.TOP, charts.HEIGHT - charts.BOTTOM
    middle = ((left + right) / 2, (top + bottom) / 2)
    assert places(drawn.curves[0]) == [(left, bottom), middle, (right, top)]
    assert [text for _, text in drawn.x_ticks] == ["1", "2", "3"]
    assert drawn.summary == "Scores over epochs 1 to 3. hmean: from 0 to 1."


def test_epochs_that_were_not_validated_are_passed_over():
    (curve,) = chart("Scores", epochs(None, 0.2, None, 0.4), {"hmean": "hmean"}).curves
    assert [text for *_, text in curve.dots] == ["hmean, epoch 2: 0.2", "hmean, epoch 4: 0.4"]


def test_what_was_not_measured_is_no_chart():
    assert chart("Scores", epochs(None, None), {"hmean": "hmean"}) is None
    assert chart("Scores", [], {"hmean": "hmean"}) is None
    two = chart("Loss", epochs(1.0, 2.0), {"hmean": "a", "lr": "b"})
    assert [curve.label for curve in two.curves] == ["a"]


def test_many_points_are_a_line_without_dots():
    (curve,) = chart("Scores", epochs(*[0.5] * 1000), {"hmean": "hmean"}).curves
    assert curve.dots == []
    assert len(places(curve)) == 1000


numbers = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-5, 5))


@given(st.lists(numbers.map(float), max_size=20))
def test_whatever_was_measured_stays_in_the_plot(values):
    drawn = chart("Anything", epochs(*values), {"hmean": "hmean"})
    for x, y in places(drawn.curves[0]) if drawn else ():
        assert charts.LEFT <= x <= charts.WIDTH - charts.RIGHT
        assert charts.TOP <= y <= charts.HEIGHT - charts.BOTTOM


@given(st.floats(1e-9, 1e12) | st.integers(0, 5), st.integers(0, 5))
def test_ticks_cover_the_range_with_a_handful(span, low):
    low = low if span >= 1e-6 else 0
    found = ticks(low, low + span)
    assert found == sorted(found)
    assert len(set(found)) == len(found) >= 2
    assert len(found) <= 8
    slack = 1e-6 * max(abs(low), span)
    assert found[0] <= low + slack
    assert found[-1] >= low + span - slack


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.25, 0.5, 0.75, 1]),
        (0, 0.53, [0, 0.2, 0.4, 0.6]),
        (0, 38, [0, 10, 20, 30, 40]),
        (0, 0.001, [0, 0.00025, 0.0005, 0.00075, 0.001]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_epochs_are_whole():
    for last in range(1, 200):
        marks = ticks(1, last, whole=True)
        assert all(math.isclose(mark, round(mark)) for mark in marks)


def test_a_column_is_as_high_as_its_count_and_says_it():
    drawn = histogram("Height", "pixels", [0, 8, 16], [5, 0, 10], "words")
    low, none, high = drawn.bars
    assert (low.height, none.height) == (high.height / 2, 0)
    assert {bar.y + bar.height for bar in drawn.bars} == {charts.HEIGHT - charts.BOTTOM}
    assert charts.LEFT < low.x < low.x + low.width < none.x < high.x
    assert high.x + high.width < charts.WIDTH - charts.RIGHT
    texts = [bar.text for bar in drawn.bars]
    assert texts[::2] == ["0 or more and below 8: 5 words", "16 or more: 10 words"]
    assert drawn.summary.endswith("Most: 16 or more: 10 words.")


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=14))
def test_no_column_leaves_the_plot(counts):
    edges = list(range(len(counts)))
    for bar in histogram("t", "x", edges, counts, "").bars:
        assert charts.LEFT < bar.x <= bar.x + bar.width < charts.WIDTH - charts.RIGHT
        assert bar.y + 0.11 >= charts.TOP and bar.height >= 0
