"""Which texts are found: recall by height, angle, length and place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ocdnet.geometry import Points

HEIGHTS = (0, 8, 12, 16, 24, 32, 48, 64)
"""Lower bounds in pixels of the picture: the short side of the smallest rectangle around a text."""
ANGLES = (0, 5, 15, 30, 60)
"""Lower bounds in degrees between the long side and the horizontal, 0 to 90."""
LENGTHS = (1, 1.5, 3, 5, 8)
"""Lower bounds of the long side as a multiple of the short one."""
PLACES = 3
"""Rows and columns of the grid that a text's centre lies in."""

_SQUARE = 1.2
"""Below this length the long side says nothing of the direction in which a text is read."""


@dataclass(slots=True)
class Tally:
    """Numbers of texts and of those found, int64[groups] each."""

    groups: int
    texts: NDArray[np.int64] = field(init=False)
    found: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.texts, self.found = np.zeros((2, self.groups), np.int64)

    def add(self, group: int, found: bool) -> None:
        """Count one text."""
        self.texts[group] += 1
        self.found[group] += found


@dataclass(slots=True)
class Breakdown:
    """Texts that count, by what may decide whether they are found."""

    height: Tally = field(default_factory=lambda: Tally(len(HEIGHTS)))
    angle: Tally = field(default_factory=lambda: Tally(len(ANGLES)))
    length: Tally = field(default_factory=lambda: Tally(len(LENGTHS)))
    place: Tally = field(default_factory=lambda: Tally(PLACES**2))
    """Row by row from the top left."""

    def add(self, text: Points, found: bool, size: tuple[int, int]) -> None:
        """Count one text: a valid polygon [N, 2] in pixels of a picture of (width, height)."""
        (x, y), short, long, angle = _measured(text)
        self.height.add(_group(short, HEIGHTS), found)
        self.angle.add(_group(angle, ANGLES), found)
        self.length.add(_group(long / short if short else math.inf, LENGTHS), found)
        column, row = (
            min(max(int(PLACES * at / side), 0), PLACES - 1)
            for at, side in zip((x, y), size, strict=True)
        )
        self.place.add(PLACES * row + column, found)


def _group(value: float, bounds: Sequence[float]) -> int:
    return max(int(np.searchsorted(bounds, value, side="right")) - 1, 0)


def _measured(text: Points) -> tuple[tuple[float, float], float, float, float]:
    """Centre, short and long side, and degrees of the long side against the horizontal, 0..90."""
    rectangle = cv2.minAreaRect(np.asarray(text, np.float32))
    centre = float(rectangle[0][0]), float(rectangle[0][1])
    short, long = sorted(map(float, rectangle[1]))
    corners = cv2.boxPoints(rectangle)
    edges = [corners[1] - corners[0], corners[2] - corners[1]]
    angles = [math.degrees(math.atan2(abs(dy), abs(dx))) for dx, dy in edges]
    lengths = [math.hypot(dx, dy) for dx, dy in edges]
    if long < _SQUARE * short:
        return centre, short, long, min(angles)
    return centre, short, long, angles[lengths.index(max(lengths))]
