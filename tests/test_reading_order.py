"""Words are read column by column, line by line, from left to right, however the page lies."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ocdnet.page import Page
from ocdnet.reading_order import reading_order


def box(left, top, width, height):
    right, bottom = left + width, top + height
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)


def turned(polygons, angle):
    matrix = cv2.getRotationMatrix2D((300, 200), angle, 1)
    return [(p @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32) for p in polygons]


def shuffled_order(polygons):
    """The order of polygons that are given in another one, by their own numbers."""
    mixed = np.random.default_rng(0).permutation(len(polygons)).tolist()
    return [mixed[index] for index in reading_order([polygons[index] for index in mixed])]


def lines(left, top, words=3, rows=5, step=30):
    """Rows of words that nearly touch, as unclipped boxes do; rows overlap by some pixels."""
    return [box(left + w * 105, top + r * step, 102, 34) for r in range(rows) for w in range(words)]


TITLE, TWO_COLUMNS = box(150, 0, 400, 40), lines(0, 60) + lines(350, 71)
FOOT = box(20, 240, 600, 30)


@pytest.mark.parametrize("angle", [0, 4, -12, 25, -40])
def test_columns_below_a_title(angle):
    """Also where the lines of the columns stand at different heights, and the page is tilted."""
    page = turned([TITLE, *TWO_COLUMNS, FOOT], angle)
    assert shuffled_order(page) == list(range(len(page)))


def test_words_of_a_line_are_no_columns():
    """Gaps of a space's width lie above each other, and are no gutters."""
    page = [box(x, y, 96, 30) for y in (0, 40, 80) for x in (0, 110, 220)]
    assert shuffled_order(page) == list(range(9))


def test_a_line_may_bend_and_rise():
    upper = [box(x * 60, 40 + 25 * np.sin(x / 3), 58, 30) for x in range(10)]
    lower = [box(x * 60, 100 + 25 * np.sin(x / 3), 58, 30) for x in range(10)]
    assert shuffled_order(upper + lower) == list(range(20))


def test_polygons_and_a_sign_that_stands():
    """A tall sign is read by itself; an outline of many corners goes where its box goes."""
    tall = box(0, 0, 30, 200)
    round_ = np.array([(70, 10), (120, 0), (170, 10), (170, 40), (120, 30), (70, 40)], np.float32)
    assert shuffled_order([tall, round_, box(70, 60, 100, 30)]) == [0, 1, 2]


def test_nothing_one_and_many_in_one_place():
    assert reading_order([]) == []
    assert reading_order([box(5, 5, 10, 4)]) == [0]
    assert sorted(reading_order([box(5, 5, 10, 4)] * 50)) == list(range(50))
    flat = np.zeros((4, 2), np.float32)  # no area at all
    assert sorted(reading_order([flat, box(5, 5, 10, 4)])) == [0, 1]


def test_a_page_keeps_its_scores_with_their_regions():
    polygons = [box(0, 50, 80, 20), box(0, 0, 80, 20)]
    page = Page(polygons, np.array([0.6, 0.9], np.float32), (100, 100)).in_reading_order()
    assert [p[0, 1] for p in page.polygons] == [0, 50]
    assert page.scores.tolist() == pytest.approx([0.9, 0.6])
    assert len(Page([], np.zeros(0, np.float32), (9, 9)).in_reading_order()) == 0
