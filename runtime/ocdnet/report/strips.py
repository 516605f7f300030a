"""Words of a picture, zoomed to, with what was labelled and what was found there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ocdnet.geometry import Points
from ocdnet.report.pictures import Album, Draw, Picture
from ocdnet.runs.explained import ExplainedImage, ExplainedLabel, ExplainedRegion
from ocdnet.visualize import DASHED, ROLE_COLORS, draw_roles, write_beside

_WIDTH, _SHAPE, _MARGIN = 400, 4 / 3, 12
"""Of a strip: pixels, width by height, and least pixels of the picture around the word."""
_WHOLE = 8000
"""Longer side of a picture to which it is reduced before a part of it is cut out."""
_FARTHEST = 10**6
_FEWEST, _MOST_TEXTS = 6, 12

Shape: TypeAlias = ExplainedLabel | ExplainedRegion


def strip(album: Album, image: ExplainedImage, word: tuple[int, ...], caption: str) -> Picture:
    """The picture of a word and its surroundings.

    Args:
        album: draws it.
        image: what is known of its picture.
        word: the polygon of a label or of a region of it.
        caption: what to say of it.
    """
    return album.picture(image.image, caption, _drawing(image, word), _WHOLE)


def seen(pictures: Sequence[Picture]) -> list[Picture]:
    """Those that can be shown; the page says of the others how many there are."""
    return [picture for picture in pictures if picture.uri is not None]


def points(polygon: Sequence[int]) -> Points | None:
    """A polygon of an untrusted file as float64[N, 2]; None where it is none."""
    if len(polygon) < _FEWEST or len(polygon) % 2 or max(map(abs, polygon)) > _FARTHEST:
        return None
    return np.array(polygon, np.float64).reshape(-1, 2)


def size(polygon: Sequence[int]) -> float:
    """Area of a polygon of an untrusted file in square pixels; 0 where it is none."""
    corners = points(polygon)
    return 0.0 if corners is None else float(cv2.contourArea(corners.astype(np.float32)))


def height(polygon: Sequence[int]) -> float:
    """Short side of the smallest rectangle around a polygon that has a size, in pixels."""
    rectangle = cv2.minAreaRect(np.array(polygon, np.float32).reshape(-1, 2))
    return float(min(rectangle[1]))


def _drawing(image: ExplainedImage, word: tuple[int, ...]) -> Draw:
    def draw(pixels: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
        focus = points(word)
        if focus is None:
            return pixels
        left, top, right, bottom = _window(focus * factor, pixels.shape)
        part, corner = pixels[top:bottom, left:right], (left, top)
        zoom = _WIDTH / (right - left)
        way = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
        wide, high = _WIDTH, max(1, round((bottom - top) * zoom))
        shown = np.asarray(cv2.resize(part, (wide, high), interpolation=way), np.uint8)

        def placed(polygon: Sequence[int]) -> Points | None:
            """The polygon in pixels of what is shown; None where it is not there."""
            corners = points(polygon)
            if corners is None:
                return None
            corners = (corners * factor - corner) * zoom
            (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
            return corners if left < wide and top < high and right > 0 and bottom > 0 else None

        everything: tuple[Shape, ...] = (*image.labels, *image.regions)
        there = [
            (one, corners) for one in everything if (corners := placed(one.polygon)) is not None
        ]
        shown = draw_roles(shown, dict(_by_role(there)), thickness=1)
        bold = next((one for one, _ in there if one.polygon == word), None)
        if bold is not None:
            shown = draw_roles(shown, {bold.role: [(focus * factor - corner) * zoom]}, thickness=2)
        _write(shown, there)
        return shown

    return draw


def _window(word: Points, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """What is shown of a picture of a shape: left, top, right, bottom; 4:3 where there is room."""
    low, high = word.min(axis=0), word.max(axis=0)
    margin = max(_MARGIN, float((high - low).min()), float((high - low).max()) / 4)
    wide, tall = (high - low) + 2 * margin
    sides = max(wide, tall * _SHAPE), max(tall, wide / _SHAPE)
    edges = []
    for at, side, most in zip((low + high) / 2, sides, shape[1::-1], strict=True):
        start = int(min(max(at - side / 2, 0), max(most - side, 0)))
        edges.append((start, min(most, start + math.ceil(side))))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom


def _by_role(
    there: Sequence[tuple[Shape, Points]],
) -> Iterator[tuple[str, list[Points]]]:
    """What is drawn first comes first: labels, then what was found."""
    for role in sorted(ROLE_COLORS, key=lambda role: role in DASHED):
        yield role, [corners for one, corners in there if one.role == role]


def _write(shown: NDArray[np.uint8], there: Sequence[tuple[Shape, Points]]) -> None:
    """Scores beside the regions, and their IoU with a text."""
    regions = [(one, corners) for one, corners in there if isinstance(one, ExplainedRegion)]
    for one, corners in regions[:_MOST_TEXTS]:
        text = f"{one.score:.2f}" + ("" if one.iou is None else f" IoU {one.iou:.2f}")
        outline = np.clip(np.rint(corners), 0, max(shown.shape) - 1).astype(np.int32)
        write_beside(shown, text, outline, ROLE_COLORS[one.role])


def described(one: Shape) -> str:
    """Score, IoU and height of a label or region that has a size, as text."""
    parts = [] if one.score is None else [f"score {one.score:.2f}"]
    parts += [] if one.iou is None else [f"IoU {one.iou:.2f}"]
    return ", ".join([*parts, f"{math.ceil(height(one.polygon))} px high"])
