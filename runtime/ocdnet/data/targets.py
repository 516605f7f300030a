"""Training targets of DBNet: the shrunk text kernels and the threshold map along text borders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    distance = shrink_distance(polygon, shrink_ratio)
    grown = offset(polygon, distance) if distance > 0 else []
    if not grown:
        return
    outline = _largest(grown)
    _fill(targets.threshold_mask, outline, 1)
    height, width = targets.threshold_map.shape
    left, top = outline.min(axis=0).astype(int).tolist()
    right, bottom = (outline.max(axis=0).astype(int) + 1).tolist()
    columns, rows = slice(max(left, 0), min(right, width)), slice(max(top, 0), min(bottom, height))
    if columns.start >= columns.stop or rows.start >= rows.stop:
        return
    nearness = _nearness(
        polygon.astype(np.float32) - np.array([left, top], np.float32),
        np.arange(columns.start - left, columns.stop - left, dtype=np.float64),
        np.arange(rows.start - top, rows.stop - top, dtype=np.float64),
        distance,
    )
    box = targets.threshold_map[rows, columns]
    value = nearness * np.float32(thresh_max - thresh_min) + np.float32(thresh_min)
    np.fmax(box, value, out=box)  # fmax, as nearness may hold NaN


def _nearness(
    polygon: Polygon, xs: NDArray[np.float64], ys: NDArray[np.float64], distance: float
) -> NDArray[np.float32]:
    """1 on the polygon's outline, falling to 0 at `distance` from it: float32[len(ys), len(xs)].

    Each edge is worked out only where it can count, in its own box grown by the distance.
    """
    nearness = np.zeros((len(ys), len(xs)))
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        left, top = np.minimum(start, end) - distance
        right, bottom = np.maximum(start, end) + distance
        i, j = np.searchsorted(xs, (left, right))
        k, m = np.searchsorted(ys, (top, bottom))
        if i < j and k < m:
            away = _edge_distance(xs[i:j], ys[k:m], start, end)
            strip = nearness[k:m, i:j]
            np.maximum(strip, 1 - away / distance, out=strip)
    return nearness.astype(np.float32)


def _edge_distance(
    xs: NDArray[np.float64], ys: NDArray[np.float64], start: Polygon, end: Polygon
) -> NDArray[np.float64]:
    """Distance of a grid of pixels to an edge: float64[len(ys), len(xs)].

    Law of cosines at the pixel P over edge AB: where the angle APB is obtuse, the height of the
    triangle; elsewhere the distance to the nearer end. The order of operations and the float32
    length of the edge are the reference's, so that our maps equal its: rounding may even make a
    pixel on the edge NaN, which the caller leaves as it was.
    """
    to_start = np.square(xs - start[0]) + np.square(ys - start[1])[:, None]
    to_end = np.square(xs - end[0]) + np.square(ys - end[1])[:, None]
    length = np.square(start[0] - end[0]) + np.square(start[1] - end[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        product = to_start * to_end
        cosine = (length - to_start - to_end) / (2 * np.sqrt(product))
        height = np.sqrt(product * (1 - np.square(cosine)) / length)
    away: NDArray[np.float64] = np.where(cosine < 0, np.sqrt(np.minimum(to_start, to_end)), height)
    away[product == 0] = 0  # on a corner, where there is no angle
    return away


def _largest(pieces: list[Polygon]) -> Polygon:
    return max(pieces, key=area)


def _fill(image: NDArray[np.uint8], polygon: Polygon, value: int) -> None:
    cv2.fillPoly(image, [polygon.astype(np.int32)], value)
