"""Label maps as DBNet implementations draw them: every edge over its polygon's whole box.

The classic formulation: two passes over the polygons (border, then kernel), area and length by
shapely, float64 distances of all edges stacked and reduced.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pyclipper
from numpy.typing import NDArray
from shapely.geometry import Polygon as ShapelyPolygon

Maps = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""shrink_map, shrink_mask, threshold_map, threshold_mask."""


def label_maps(
    polygons: Sequence[NDArray[np.float32]],
    ignore: Sequence[bool],
    size: tuple[int, int],
    shrink_ratio: float = 0.4,
    min_text_size: float = 8,
    thresh_min: float = 0.3,
    thresh_max: float = 0.7,
) -> Maps:
    """float32[height, width] maps of one image."""
    height, width = size
    canvas, canvas_mask = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for polygon, ignored in zip(polygons, ignore, strict=True):
        if not ignored:
            _border(polygon.astype(np.float64), canvas, canvas_mask, shrink_ratio)
    threshold_map = canvas * (thresh_max - thresh_min) + thresh_min
    kernels, mask = np.zeros(size, np.float32), np.ones(size, np.float32)
    for polygon, ignored in zip(polygons, ignore, strict=True):
        inside = polygon.copy()
        inside[:, 0] = np.clip(inside[:, 0], 0, width - 1)
        inside[:, 1] = np.clip(inside[:, 1], 0, height - 1)
        sides = inside.max(axis=0) - inside.min(axis=0)
        pieces = []
        if not ignored and min(sides) >= min_text_size and ShapelyPolygon(inside).area >= 1:
            pieces = _offset(inside, -_distance(inside, shrink_ratio))
        if pieces:
            cv2.fillPoly(kernels, [max(pieces, key=cv2.contourArea)], 1)
        else:
            cv2.fillPoly(mask, [inside.astype(np.int32)], 0)
    return kernels, mask, threshold_map, canvas_mask


def _border(
    polygon: NDArray[np.float64],
    canvas: NDArray[np.float32],
    mask: NDArray[np.float32],
    shrink_ratio: float,
) -> None:
    distance = _distance(polygon, shrink_ratio)
    pieces = _offset(polygon, distance) if distance > 0 else []
    if not pieces:
        return
    padded = max(pieces, key=cv2.contourArea)
    cv2.fillPoly(mask, [padded], 1)
    left, top = padded.min(axis=0)
    right, bottom = padded.max(axis=0)
    wide, high = right - left + 1, bottom - top + 1
    shifted = polygon - np.array([left, top])
    xs = np.broadcast_to(np.linspace(0, wide - 1, num=wide).reshape(1, wide), (high, wide))
    ys = np.broadcast_to(np.linspace(0, high - 1, num=high).reshape(high, 1), (high, wide))
    away = np.zeros((len(polygon), high, wide), np.float32)
    for edge in range(len(polygon)):
        following = (edge + 1) % len(polygon)
        exact = _edge_distance(xs, ys, shifted[edge], shifted[following])
        away[edge] = np.clip(exact / distance, 0, 1)
    nearness = 1 - away.min(axis=0)
    height, width = canvas.shape
    x0, x1 = min(max(0, left), width - 1), min(max(0, right), width - 1)
    y0, y1 = min(max(0, top), height - 1), min(max(0, bottom), height - 1)
    box = nearness[y0 - top : y1 - top + 1, x0 - left : x1 - left + 1]
    canvas[y0 : y1 + 1, x0 : x1 + 1] = np.fmax(box, canvas[y0 : y1 + 1, x0 : x1 + 1])


def _edge_distance(
    xs: NDArray[np.float64],
    ys: NDArray[np.float64],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Law of cosines; where the angle at the pixel is acute, the nearer end."""
    to_start = np.square(xs - start[0]) + np.square(ys - start[1])
    to_end = np.square(xs - end[0]) + np.square(ys - end[1])
    length = np.square(start[0] - end[0]) + np.square(start[1] - end[1])
    with np.errstate(all="ignore"):
        cosine = (length - to_start - to_end) / (2 * np.sqrt(to_start * to_end))
        sine = np.fmax(1 - np.square(cosine), 0)  # else rounding makes pixels on an edge NaN
        result = np.sqrt(to_start * to_end * sine / length)
    ends = np.sqrt(np.fmin(to_start, to_end))
    result[cosine < 0] = ends[cosine < 0]
    return result


def _distance(polygon: NDArray[np.float32], shrink_ratio: float) -> float:
    shape = ShapelyPolygon(polygon)
    return float(shape.area * (1 - shrink_ratio**2) / shape.length)


def _offset(polygon: NDArray[np.float32], distance: float) -> list[NDArray[np.int32]]:
    clipper = pyclipper.PyclipperOffset()
    clipper.AddPath([tuple(p) for p in polygon], pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    return [np.array(piece, np.int32) for piece in clipper.Execute(distance)]
