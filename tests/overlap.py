"""Intersection over union, from the overlaps that the metric counts with."""

from __future__ import annotations

import numpy as np

from ocdnet.geometry import area, overlaps


def iou_matrix(first, second):
    """float64[len(first), len(second)], of valid polygons."""
    shared = np.zeros((len(first), len(second)))
    pairs, areas = overlaps(first, second)
    shared[tuple(pairs.T)] = areas
    sizes = [np.array([area(polygon) for polygon in polygons]) for polygons in (first, second)]
    return shared / (sizes[0][:, None] + sizes[1] - shared)


def iou(first, second):
    """Of two valid polygons."""
    return float(iou_matrix([first], [second])[0, 0])
