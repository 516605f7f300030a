"""Polygons in pixels: area, offset, minimum-area quad, corner order, validity, overlap, frame.

A polygon is an array [N, 2] of (x, y) with y pointing down, in either winding, not closed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeAlias, TypeVar

import cv2
import numpy as np
import pyclipper
from numpy.typing import NDArray

Polygon: TypeAlias = NDArray[np.float32]
Points: TypeAlias = NDArray[Any]
_T = TypeVar("_T", bound=np.generic)

# Overlaps are computed on a grid of 1/8192 pixel: Clipper knows integers only, and stays in its
# fast 64-bit arithmetic up to 2**30, that is for coordinates below 131,072 pixels.
_GRID = 8192

# Pairs of edges that are compared at once: 100 MB.
_PORTION = 1 << 20


def area(points: Points) -> float:
    """Area of a polygon in square pixels, never negative."""
    return float(cv2.contourArea(np.asarray(points, np.float32)))


def perimeter(points: Points) -> float:
    """Length of a closed polygon's outline in pixels."""
    corners = points.tolist()
    return sum(map(math.dist, corners, corners[1:] + corners[:1]))


def shrink_distance(points: Points, shrink_ratio: float) -> float:
    """Offset between a text polygon and its kernel: D = A (1 - r^2) / L (DBNet, section 3.4).

    Returns pixels, 0.0 for a polygon without area. The same D serves both maps: the kernel lies D
    inside the polygon, the border reaches D to both sides of it.
    """
    size = area(points)
    return size * (1 - shrink_ratio**2) / perimeter(points) if size > 0 else 0.0


def unclip_distance(points: Points, unclip_ratio: float) -> float:
    """Offset that grows a detected kernel to its text: D' = A' r' / L' (DBNet, section 3.5).

    Returns pixels, 0.0 for a polygon without area.
    """
    size = area(points)
    return size * unclip_ratio / perimeter(points) if size > 0 else 0.0


def offset(points: Points, distance: float) -> list[Polygon]:
    """Grow (distance > 0) or shrink (distance < 0) a polygon by pixels, with rounded corners.

    Returns none, one or several pieces in whole pixels; a hole is a piece, too. Coordinates are
    truncated to whole pixels first, as in TAO: this moves an outline by half a pixel towards the
    origin, but a finer grid would not give TAO's label maps and detections.
    """
    clipper = pyclipper.PyclipperOffset()
    path = np.asarray(points).astype(np.int64).tolist()
    clipper.AddPath(path, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    return [np.array(piece, np.float32) for piece in clipper.Execute(distance)]


def unclip(points: Points, unclip_ratio: float) -> list[Polygon]:
    """The pieces of a polygon grown by `unclip_distance`; see `offset`."""
    return offset(points, unclip_distance(points, unclip_ratio))


def order_quad(quad: Points, scale: tuple[float, float] = (1.0, 1.0)) -> Polygon:
    """The corners of a convex quad from the top left on, clockwise on the screen.

    The edge from the first to the second corner is the one that points nearest to +x: of a
    rectangle by -45 degrees up to, but not including, 45. So it starts where a reader would,
    however narrow or tall it is, and the start jumps at those angles only. Corners only rotate
    along the outline: none is lost or crossed.

    Args:
        quad: [4, 2].
        scale: (x, y): what one unit of the quad is in the pixels in which directions count.
    """
    corners = np.asarray(quad, np.float32)
    if cv2.contourArea(corners, oriented=True) < 0:
        corners = corners[::-1]
    points = [(x * scale[0], y * scale[1]) for x, y in corners.tolist()]
    directions = [
        _direction(tip[0] - tail[0], tip[1] - tail[1])
        for tail, tip in zip(points, points[1:] + points[:1], strict=True)
    ]
    start = directions.index(max(directions))
    return np.concatenate((corners[start:], corners[:start]))


def _direction(dx: float, dy: float) -> tuple[float, bool]:
    """How near an edge points to +x; of two that are as near, one at 45 degrees, upwards is more.

    Rounded, as corners are float32: at exactly 45 degrees their noise must not decide.
    """
    length = math.hypot(dx, dy)
    return (round(dx / length, 5) if length else -2.0), dy < 0


def min_area_quad(points: Points) -> tuple[Polygon, float]:
    """The smallest rotated rectangle around points, and the length of its short side in pixels.

    Returns float32[4, 2], starting anywhere: see `order_quad`. Needs at least one point.
    """
    rectangle = cv2.minAreaRect(np.asarray(points, np.float32))
    return np.asarray(cv2.boxPoints(rectangle), np.float32), float(min(rectangle[1]))


def short_side(points: Points) -> float:
    """Short side, in pixels, of the smallest rotated rectangle around points."""
    return float(min(cv2.minAreaRect(np.asarray(points, np.float32))[1]))


def is_valid(points: Points) -> bool:
    """Whether a polygon is finite, has area, and does not cross, touch or double back on itself."""
    points = np.asarray(points, np.float64)
    convex = len(points) in {3, 4} and _is_convex(points.tolist())
    sound = convex or (len(points) >= 3 and bool(np.isfinite(points).all()) and _is_simple(points))
    return sound and area(points) > 0


def _is_convex(corners: list[list[float]]) -> bool:
    """Whether 3 or 4 corners all turn the same way, which makes them convex and simple.

    Five could turn the same way twice around: a star.
    """
    turns = []
    (ax, ay), (bx, by) = corners[-2:]
    for cx, cy in corners:
        turns.append((bx - ax) * (cy - by) - (by - ay) * (cx - bx))
        ax, ay, bx, by = bx, by, cx, cy
    one_way = all(turn > 0 for turn in turns) or all(turn < 0 for turn in turns)
    return one_way and math.isfinite(sum(turns))


def _is_simple(points: NDArray[np.float64]) -> bool:
    """The general case of `is_valid`: edges whose boxes meet along an axis are compared."""
    # A corner given twice would be an edge without length between two that meet.
    start = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    if len(start) < 3:
        return False
    end = np.roll(start, -1, axis=0)
    edge, after = end - start, np.roll(end, -1, axis=0) - end
    doubles_back = (_cross(edge, after) == 0) & ((edge * after).sum(axis=1) < 0)
    if doubles_back.any():
        return False
    low, high = np.minimum(start, end), np.maximum(start, end)
    return not any(_meet(start, edge, low, high, *pairs) for pairs in _near_pairs(low, high))


_Indices: TypeAlias = NDArray[np.int64]


def _near_pairs(
    low: NDArray[np.float64], high: NDArray[np.float64]
) -> Iterator[tuple[_Indices, _Indices]]:
    """Pairs of edges whose extents meet along the axis that has fewer such pairs, in portions."""
    sweeps = []
    for axis in (0, 1):
        order = np.argsort(low[:, axis], kind="stable")
        last = np.searchsorted(low[order, axis], high[order, axis], side="right")
        sweeps.append((order, last - np.arange(len(low)) - 1))
    order, later = min(sweeps, key=lambda sweep: int(sweep[1].sum()))
    ends = np.cumsum(later)
    first = 0
    while first < len(order):
        before = ends[first] - later[first]
        last = max(first + 1, int(np.searchsorted(ends, before + _PORTION, side="right")))
        number = later[first:last]
        i = np.repeat(np.arange(first, last), number)
        j = i + 1 + np.arange(len(i)) - np.repeat(np.cumsum(number) - number, number)
        yield order[i], order[j]
        first = last


def _meet(
    start: NDArray[np.float64],
    edge: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    i: _Indices,
    j: _Indices,
) -> bool:
    """Whether two edges of one of the pairs touch that are no neighbours of each other."""
    gap = np.abs(i - j)
    near = ((low[i] <= high[j]) & (low[j] <= high[i])).all(axis=1)
    near &= (gap > 1) & (gap < len(start) - 1)
    i, j = i[near], j[near]

    def straddles(one: _Indices, other: _Indices) -> NDArray[np.bool_]:
        # On which side of an edge the other's ends lie. Two edges meet unless one of them lies
        # strictly on one side of the other; collinear ones meet where their boxes do.
        ends = (other, (other + 1) % len(start))
        sides = (np.sign(_cross(edge[one], start[end] - start[one])) for end in ends)
        crossed: NDArray[np.bool_] = next(sides) * next(sides) <= 0
        return crossed

    return bool((straddles(i, j) & straddles(j, i)).any())


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    product: NDArray[np.float64] = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return product


def overlaps(
    first: Sequence[Points], second: Sequence[Points]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of valid polygons that may overlap, and the areas of their overlaps in square pixels.

    Returns int64[K, 2], indices of both lists in ascending order, and float64[K]; pairs that are
    absent do not overlap. Areas are exact where corners and crossings lie on whole pixels, else
    within perimeter / 8192.
    """
    if not first or not second:
        return np.zeros((0, 2), np.int64), np.zeros(0)
    paths_a, (low_a, high_a) = _on_grid(first)
    paths_b, (low_b, high_b) = _on_grid(second)
    # Most pairs lie apart, which their boxes show without an intersection of polygons.
    boxes_meet = np.ones((len(first), len(second)), np.bool_)
    for axis in (0, 1):
        boxes_meet &= low_a[:, axis, None] < high_b[:, axis]
        boxes_meet &= low_b[:, axis] < high_a[:, axis, None]
    pairs = np.argwhere(boxes_meet)
    areas = [_path_overlap(paths_a[i], paths_b[j]) for i, j in pairs.tolist()]
    return pairs, np.array(areas, np.float64)


_Box: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]


def _on_grid(polygons: Sequence[Points]) -> tuple[list[list[list[int]]], _Box]:
    """Polygons as Clipper's integer paths, and the low and high corners of their boxes."""
    points = np.rint(np.concatenate(polygons).astype(np.float64) * _GRID).astype(np.int64)
    ends = np.cumsum([len(p) for p in polygons])
    starts = np.concatenate(([0], ends[:-1]))
    box = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
    path = points.tolist()
    return [path[i:j] for i, j in zip(starts.tolist(), ends.tolist(), strict=True)], box


def _path_overlap(first: list[list[int]], second: list[list[int]]) -> float:
    """Overlap of two integer paths in square pixels.

    Not cv2.intersectConvexConvex: it takes the same 2 us, but where float edges are nearly
    collinear its area is wrong by up to 90 %.
    """
    clipper = pyclipper.Pyclipper()
    try:
        clipper.AddPath(first, pyclipper.PT_SUBJECT, True)
        clipper.AddPath(second, pyclipper.PT_CLIP, True)
    except pyclipper.ClipperException:  # thinner than the grid
        return 0.0
    pieces = clipper.Execute(pyclipper.CT_INTERSECTION)
    # Holes have negative areas, so the sum is right for pieces with holes, too.
    return float(abs(sum(map(pyclipper.Area, pieces)))) / _GRID**2


@dataclass(frozen=True, slots=True)
class Frame:
    """Where an image lies in a network's input, and so in the maps that the network returns.

    Attributes:
        size: (width, height) of its part of the input, at the top left; the rest is padding.
        scale: (x, y): pixel of the input * scale = pixel of the original image, exactly.
        image_size: (width, height) of the original image.
    """

    size: tuple[int, int]
    scale: tuple[float, float]
    image_size: tuple[int, int]

    @classmethod
    def whole(cls, pixels: NDArray[Any]) -> Frame:
        """The frame of an array [H, W, ...] that is as large as the image."""
        height, width = pixels.shape[:2]
        return cls((width, height), (1.0, 1.0), (width, height))

    def cut(self, pixels: NDArray[_T]) -> NDArray[_T]:
        """The image's part of an array [H, W, ...] in pixels of the input: a view."""
        width, height = self.size
        return pixels[:height, :width]

    def to_image(self, polygons: Sequence[Polygon]) -> list[Polygon]:
        """Polygons of the input in pixels of the original image, clipped to it."""
        if not polygons:
            return []
        # All in one go: a call of numpy for each of a thousand polygons takes milliseconds.
        points = np.concatenate(polygons) * np.array(self.scale, np.float32)
        np.clip(points, 0, np.array(self.image_size, np.float32), out=points)
        ends = list(accumulate(map(len, polygons)))
        return [points[start:end] for start, end in zip([0, *ends], ends, strict=False)]
