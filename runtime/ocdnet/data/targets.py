"""Training targets of DBNet: the shrunk text kernels and the threshold map along text borders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ocdnet.geometry import Polygon, area, offset, shrink_distance


@dataclass(frozen=True, slots=True)
class Targets:
    """Label maps of one image, all [height, width] (DBNet, section 3.4)."""

    shrink_map: NDArray[np.uint8]
    """1 inside text kernels, else 0."""
    shrink_mask: NDArray[np.uint8]
    """0 where ignored text keeps the loss from looking, else 1."""
    threshold_map: NDArray[np.float32]
    """`thresh_max` on text borders, falling to `thresh_min` at the offset distance from them."""
    threshold_mask: NDArray[np.uint8]
    """1 where the threshold map counts: inside grown text polygons."""


def make_targets(
    polygons: Sequence[Polygon],
    ignore: Sequence[bool] | NDArray[np.bool_],
    size: tuple[int, int],
    *,
    shrink_ratio: float = 0.4,
    min_text_size: float = 8,
    thresh_min: float = 0.3,
    thresh_max: float = 0.7,
) -> Targets:
    """Draw the label maps of one image; the inputs are left as they are.

    Args:
        polygons: float32[N, 2] each, any N >= 3, in pixels of the maps; may reach beyond them.
        ignore: for each polygon whether it is don't-care text.
        size: (height, width) of the maps.
        shrink_ratio: r of the offset D = A (1 - r^2) / L.
        min_text_size: text whose upright box is lower or narrower (pixels) is masked as if ignored.
        thresh_min: value of the threshold map away from text.
        thresh_max: value of the threshold map on a text border.
    """
    targets = Targets(
        shrink_map=np.zeros(size, np.uint8),
        shrink_mask=np.ones(size, np.uint8),
        threshold_map=np.full(size, thresh_min, np.float32),
        threshold_mask=np.zeros(size, np.uint8),
    )
    for polygon, ignored in zip(polygons, ignore, strict=True):
        if not ignored:
            _draw_border(targets, polygon, shrink_ratio, thresh_min, thresh_max)
        _draw_kernel(targets, polygon, bool(ignored), shrink_ratio, min_text_size)
    return targets


def _draw_kernel(
    targets: Targets, polygon: Polygon, ignored: bool, shrink_ratio: float, min_text_size: float
) -> None:
    """Fill the shrunk polygon in the shrink map, or mask the polygon where it can't be learned."""
    height, width = targets.shrink_map.shape
    # Clipped first, as in TAO: a text at the edge is judged and shrunk by the part that is there.
    inside = np.clip(polygon, 0, (width - 1, height - 1)).astype(np.float32)
    too_small = min(np.ptp(inside, axis=0)) < min_text_size or area(inside) < 1
    kernels = [] if ignored or too_small else offset(inside, -shrink_distance(inside, shrink_ratio))
    if kernels:
        _fill(targets.shrink_map, _largest(kernels), 1)
    else:
        _fill(targets.shrink_mask, inside, 0)


def _draw_border(
    targets: Targets, polygon: Polygon, shrink_ratio: float, thresh_min: float, thresh_max: float
) -> None:
    """Raise the threshold map along a polygon's border, open its mask over the grown polygon."""
    # Not clipped, as in TAO: a text's border does not run along the edge that cuts it.
    distance = shrink_distance(polygon, shrink_ratio)
    grown = offset(polygon, distance) if distance > 0 else []
    if not grown:
        return
    outline = _largest(grown).astype(np.int32)
    cv2.fillPoly(targets.threshold_mask, [outline], 1)
    height, width = targets.threshold_map.shape
    left, top, wide, high = cv2.boundingRect(outline)
    columns = slice(max(left, 0), min(left + wide, width))
    rows = slice(max(top, 0), min(top + high, height))
    if columns.start >= columns.stop or rows.start >= rows.stop:
        return
    nearness = _nearness(
        (polygon - np.array([columns.start, rows.start], np.float32)) / np.float32(distance),
        (rows.stop - rows.start, columns.stop - columns.start),
        distance,
    )
    nearness *= thresh_max - thresh_min
    nearness += thresh_min
    box = targets.threshold_map[rows, columns]
    np.maximum(box, nearness, out=box)


def _nearness(polygon: Polygon, size: tuple[int, int], distance: float) -> NDArray[np.float32]:
    """1 on a polygon's outline, falling to 0 at `distance` pixels from it: float32[height, width].

    Each edge is worked out only where it can count, in its own box grown by the distance.

    Args:
        polygon: float32[N, 2] in units of the distance.
        size: (height, width) in pixels.
        distance: pixels.
    """
    height, width = size
    # Squared distances, in units of the distance and so at most 1, with one root at the end.
    squared = np.ones(size, np.float32)
    xs = np.arange(width, dtype=np.float32) / np.float32(distance)
    ys = np.arange(height, dtype=np.float32)[:, None] / np.float32(distance)
    corners = polygon.tolist()
    x0, y0 = corners[-1]
    for x1, y1 in corners:
        left, right = _reach(x0, x1, distance, width)
        top, bottom = _reach(y0, y1, distance, height)
        length = math.hypot(x1 - x0, y1 - y0)
        if length > 0 and left < right and top < bottom:
            # A pixel seen from the middle of the edge: beyond its ends, and across it.
            x, y = xs[left:right] - (x0 + x1) / 2, ys[top:bottom] - (y0 + y1) / 2
            cos, sin = (x1 - x0) / length, (y1 - y0) / length
            beyond = y * sin + x * cos
            np.abs(beyond, out=beyond)
            beyond -= length / 2
            np.maximum(beyond, 0, out=beyond)
            beyond *= beyond
            across = y * cos - x * sin
            across *= across
            across += beyond
            strip = squared[top:bottom, left:right]
            np.minimum(strip, across, out=strip)
        x0, y0 = x1, y1
    np.sqrt(squared, out=squared)
    return np.subtract(1, squared, out=squared)


def _reach(start: float, end: float, distance: float, size: int) -> tuple[int, int]:
    """First pixel, and the one behind the last, of 0 .. size - 1 that are near enough an edge."""
    low, high = (start, end) if start < end else (end, start)
    return max(int((low - 1) * distance), 0), min(int((high + 1) * distance) + 1, size)


def _largest(pieces: list[Polygon]) -> Polygon:
    return max(pieces, key=area)


def _fill(image: NDArray[np.uint8], polygon: Polygon, value: int) -> None:
    cv2.fillPoly(image, [polygon.astype(np.int32)], value)


def text_and_background(maps: Any, masks: Any) -> tuple[int, int]:
    """How many pixels count as text and how many as background.

    Shrink maps and their masks, of {0, 1}: arrays or tensors of any shape.
    """
    text = int((maps * masks).sum())
    return text, int(masks.sum()) - text
