"""Post-processing as DBNet implementations write it: shapely for area and length, sorted corners.

One row a region: (points [N, 2] of whole pixels, score).
"""

from __future__ import annotations

import cv2
import numpy as np
import pyclipper
from numpy.typing import NDArray
from shapely.geometry import Polygon as ShapelyPolygon

Found = list[tuple[NDArray[np.int64], float]]


def quads(
    probability: NDArray[np.float32],
    thresh: float = 0.3,
    box_thresh: float = 0.55,
    unclip_ratio: float = 1.5,
    max_candidates: int = 1000,
) -> Found:
    """Rotated rectangles of one map float32[H, W]."""
    height, width = probability.shape
    bitmap = probability > thresh
    contours, _ = cv2.findContours(
        (bitmap * 255).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE
    )
    found: Found = []
    for contour in contours[:max_candidates]:
        points, side = _mini_box(contour)
        if side < 3:
            continue
        box = np.array(points)
        score = _score(probability, box.reshape(-1, 2))
        if box_thresh > score:
            continue
        grown = _unclip(box, unclip_ratio)
        if len(grown) != 1:
            continue
        points, side = _mini_box(np.array(grown[0]).reshape(-1, 1, 2))
        if side < 5:
            continue
        found.append((_on_map(np.array(points), width, height), score))
    return found


def polygons(
    probability: NDArray[np.float32],
    thresh: float = 0.3,
    box_thresh: float = 0.55,
    unclip_ratio: float = 1.5,
    max_candidates: int = 1000,
) -> Found:
    """Outlines of one map float32[H, W]."""
    height, width = probability.shape
    bitmap = probability > thresh
    contours, _ = cv2.findContours(
        (bitmap * 255).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE
    )
    found: Found = []
    for contour in contours[:max_candidates]:
        epsilon = 0.0001 * cv2.arcLength(contour, True)
        points = cv2.approxPolyDP(contour, epsilon, True).reshape(-1, 2)
        if len(points) < 4:
            continue
        score = _score(probability, contour.reshape(-1, 2))
        if box_thresh > score:
            continue
        grown = _unclip(points, unclip_ratio)
        if len(grown) != 1:
            continue
        outline = np.array(grown[0]).reshape(-1, 2)
        _, side = _mini_box(outline.reshape(-1, 1, 2))
        if side < 5:
            continue
        found.append((_on_map(outline, width, height), score))
    return found


def _mini_box(contour: NDArray[np.int32]) -> tuple[list[NDArray[np.float32]], float]:
    rectangle = cv2.minAreaRect(contour.astype(np.float32))
    points = sorted(cv2.boxPoints(rectangle), key=lambda point: point[0])
    left = (0, 1) if points[1][1] > points[0][1] else (1, 0)
    right = (2, 3) if points[3][1] > points[2][1] else (3, 2)
    corners = [points[left[0]], points[right[0]], points[right[1]], points[left[1]]]
    return corners, min(rectangle[1])


def _score(probability: NDArray[np.float32], box: NDArray[np.float32]) -> float:
    height, width = probability.shape
    box = box.copy()
    left = np.clip(np.floor(box[:, 0].min()).astype(np.int32), 0, width - 1)
    right = np.clip(np.ceil(box[:, 0].max()).astype(np.int32), 0, width - 1)
    top = np.clip(np.floor(box[:, 1].min()).astype(np.int32), 0, height - 1)
    bottom = np.clip(np.ceil(box[:, 1].max()).astype(np.int32), 0, height - 1)
    mask = np.zeros((bottom - top + 1, right - left + 1), dtype=np.uint8)
    box[:, 0] = box[:, 0] - left
    box[:, 1] = box[:, 1] - top
    cv2.fillPoly(mask, box.reshape(1, -1, 2).astype(np.int32), 1)
    return cv2.mean(probability[top : bottom + 1, left : right + 1], mask)[0]


def _unclip(box: NDArray[np.float32], unclip_ratio: float) -> list[list[list[int]]]:
    shape = ShapelyPolygon(box)
    distance = shape.area * unclip_ratio / shape.length
    clipper = pyclipper.PyclipperOffset()
    clipper.AddPath(box, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    return clipper.Execute(distance)


def _on_map(points: NDArray[np.float32], width: int, height: int) -> NDArray[np.int64]:
    points = np.round(points.astype(np.float64))
    points[:, 0] = np.clip(points[:, 0], 0, width)
    points[:, 1] = np.clip(points[:, 1], 0, height)
    return points.astype(np.int64)
