"""Outlines of COCO's masks (RLE), which pycocotools unpacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from ocdnet import install
from ocdnet.data.formats.labelled import Malformed

_MOST_PIXELS = 200_000_000


def outlines_of(segmentation: Mapping[str, Any]) -> list[list[float]]:
    """The outline x1, y1, ... of each part of a mask, within half a pixel of its edge.

    Raises:
        Malformed: it is no mask.
        EnvironmentFault: pycocotools is not installed.
    """
    install.require("pycocotools", "COCO's masks (RLE) need the package pycocotools", "coco")
    mask = _decoded(segmentation)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        raise Malformed("an empty mask")
    top, left = int(rows[0]), int(columns[0])
    part = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    # A contour runs through the middle of pixels: of ones half as large it misses a quarter.
    doubled = np.pad(part.repeat(2, axis=0).repeat(2, axis=1), 2)
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outlines = []
    for contour in contours:
        points = cv2.approxPolyDP(contour, 0.5, True).reshape(-1, 2)
        if len(points) >= 3:
            placed = (points - 2) / 2 + 0.25 + (left, top)
            outlines.append([float(value) for value in placed.ravel()])
    return outlines


def _decoded(segmentation: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    from pycocotools import mask  # noqa: PLC0415 (an extra)

    size, counts = segmentation.get("size"), segmentation.get("counts")
    whole = isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) for n in size)
    if not whole or min(size) < 1 or size[0] * size[1] > _MOST_PIXELS:  # type: ignore[arg-type, index]
        raise Malformed(f"a mask of size {str(size)[:40]}")
    height, width = size  # type: ignore[misc]
    if isinstance(counts, list):
        fine = all(isinstance(n, int) and 0 <= n <= height * width for n in counts)
        if not fine or sum(counts) != height * width:
            raise Malformed("counts of a mask do not fill its size")
        runs = np.arange(len(counts)) % 2
        return np.repeat(runs, counts).astype(np.uint8).reshape(width, height).T
    if not isinstance(counts, str):
        raise Malformed("counts of a mask are neither a list nor text")
    try:
        packed = {"size": size, "counts": counts.encode("ascii")}
        return np.asarray(mask.decode(packed), np.uint8)
    except (ValueError, TypeError, RuntimeError, UnicodeEncodeError) as error:
        raise Malformed(f"counts of a mask: {str(error)[:80]}") from error
