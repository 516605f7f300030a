"""Groups of texts, by shapes whose measures are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ocdnet.breakdown import ANGLES, HEIGHTS, LENGTHS, Breakdown


def turned(width, height, degrees, at=(150, 150)):
    return cv2.boxPoints((at, (width, height), degrees))


@pytest.mark.parametrize(
    ("shape", "height", "angle", "length"),
    [
        ((100, 20, 0), 16, 0, 5),
        ((100, 20, 20), 16, 15, 5),
        ((100, 20, -20), 16, 15, 5),
        ((100, 70, 40), 64, 30, 1),
        ((10, 45, 0), 8, 60, 3),  # reads downwards
        ((30, 30, 10), 24, 5, 1),
    ],
)
def test_a_text_is_in_the_groups_of_its_measures(shape, height, angle, length):
    groups = Breakdown()
    groups.add(turned(*shape), True, (300, 300))
    for tally, bounds, expected in (
        (groups.height, HEIGHTS, height),
        (groups.angle, ANGLES, angle),
        (groups.length, LENGTHS, length),
    ):
        assert [b for b, n in zip(bounds, tally.texts, strict=True) if n] == [expected]
        assert (tally.texts == tally.found).all()


def test_places_are_row_by_row():
    groups = Breakdown()
    for found, at in ((True, (10, 10)), (False, (290, 10)), (True, (290, 290)), (True, (400, 150))):
        groups.add(turned(20, 8, 0, at), found, (300, 300))
    assert groups.place.texts.tolist() == [1, 0, 1, 0, 0, 1, 0, 0, 1]
    assert groups.place.found.tolist() == [1, 0, 0, 0, 0, 1, 0, 0, 1]
    assert np.sum(groups.height.texts) == 4
