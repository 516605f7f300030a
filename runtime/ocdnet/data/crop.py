"""Training crops: TAO's, which cut no readable text, and ours around one word.

The idea of TAO's is that of EAST (arXiv 1704.03155): cut an image only along rows and columns that
no text touches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ocdnet.data.augment import View
from ocdnet.geometry import Polygon

_WORD_AT = (0.15, 0.85)
"""Where in a WordCrop's window the word's centre may lie, as a share of its sides."""

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1: pixel columns x0 .. x1 - 1 and rows y0 .. y1 - 1."""
_Extents = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RandomCrop:
    """TAO's EastRandomCropData: a window that cuts no text (`choose_window`), scaled to `size`.

    Attributes:
        size: (width, height) of the result.
        max_tries: windows drawn before the whole image is taken.
        keep_ratio: scale both axes alike and pad right and below; else stretch.
        min_side_ratio: least part of the image that a window spans, each way.
    """

    size: tuple[int, int]
    max_tries: int
    keep_ratio: bool
    min_side_ratio: float

    def __call__(
        self, view: View, cared: Sequence[Polygon], rng: np.random.Generator
    ) -> tuple[View, bool]:
        """The view of the window, at most `size` large, and whether a window was found.

        `cared` lies on the view's canvas.
        """
        window = choose_window(cared, view.size, self.max_tries, self.min_side_ratio, rng)
        view = view.cropped(*(window or (0, 0, *view.size)))
        fx, fy = self.size[0] / view.size[0], self.size[1] / view.size[1]
        if self.keep_ratio:
            fx = fy = min(fx, fy)
        return view.scaled(fx, fy), window is not None


@dataclass(frozen=True, slots=True)
class WordCrop:
    """A window around a random readable word, at the canvas's own scale; ours, not TAO's.

    EastRandomCropData scales windows of any extent to its size, which makes most words too small to
    learn from on few images; this one keeps the scale that IaaAugment's Resize gave.

    Attributes:
        size: (width, height) of the result, in pixels of the canvas.
    """

    size: tuple[int, int]

    def __call__(
        self, view: View, cared: Sequence[Polygon], rng: np.random.Generator
    ) -> tuple[View, bool]:
        """The view of the window, and whether there was a word to put into it.

        `cared` lies on the view's canvas.
        """
        centres = [(polygon.min(axis=0) + polygon.max(axis=0)) / 2 for polygon in cared]
        inside = [c for c in centres if 0 <= c[0] < view.size[0] and 0 <= c[1] < view.size[1]]
        centre = inside[rng.integers(len(inside))] if inside else rng.uniform((0, 0), view.size)
        corner = []
        for axis, side in enumerate(self.size):
            length = min(side, view.size[axis])
            start = round(float(centre[axis]) - length * rng.uniform(*_WORD_AT))
            corner.append((min(max(start, 0), view.size[axis] - length), length))
        (left, width), (top, height) = corner
        return view.cropped(left, top, left + width, top + height), bool(inside)


def choose_window(
    polygons: Sequence[NDArray[np.floating]],
    size: tuple[int, int],
    max_tries: int,
    min_side_ratio: float,
    rng: np.random.Generator,
) -> Box | None:
    """A window of an image that cuts none of `polygons` and holds at least one of them.

    Cuts lie between two pixels, or on the image's border, where even text that leaves the image
    allows one. Without polygons in the image any window will do.

    Args:
        polygons: [N, 2] each, pixels of the image (centres at whole numbers): the text to respect.
        size: (width, height) of the image.
        max_tries: windows drawn before giving up.
        min_side_ratio: least part of the image's width and height that a window spans.
        rng: the sample's generator.

    Returns:
        The window; None where none was found.
    """
    width, height = size
    boxes = _visible(polygons, size)
    bands_x = free_bands(boxes[:, 0::2], width)
    bands_y = free_bands(boxes[:, 1::2], height)
    for _ in range(max_tries):
        x0, x1 = _draw_cuts(bands_x, rng)
        y0, y1 = _draw_cuts(bands_y, rng)
        if x1 - x0 < max(1.0, min_side_ratio * width):
            continue
        if y1 - y0 < max(1.0, min_side_ratio * height):
            continue
        # A text is never cut, so meeting the window is lying in it.
        meets_x = (boxes[:, 0] < x1) & (boxes[:, 2] >= x0)
        meets_y = (boxes[:, 1] < y1) & (boxes[:, 3] >= y0)
        if not len(boxes) or bool((meets_x & meets_y).any()):
            return x0, y0, x1, y1
    return None


def free_bands(extents: _Extents, length: int) -> NDArray[np.int64]:
    """Bands of cut positions that no text covers, as rows (first, last), both included.

    Position c, 0 to `length`, lies between pixels c - 1 and c. A text from `low` to `high`
    (a row of `extents`) covers pixels floor(low) to ceil(high) and blocks the cuts between them.
    """
    blocked = np.zeros(length + 1, dtype=np.bool_)
    for low, high in extents.tolist():
        first, last = max(math.floor(low) + 1, 1), min(math.ceil(high), length - 1)
        if first <= last:
            blocked[first : last + 1] = True
    steps = np.diff(np.concatenate(([1], blocked, [1])).astype(np.int8))
    starts, ends = np.flatnonzero(steps == -1), np.flatnonzero(steps == 1) - 1
    return np.stack([starts, ends], axis=1)


def _draw_cuts(bands: NDArray[np.int64], rng: np.random.Generator) -> tuple[int, int]:
    """Two cuts in ascending order: bands are equally likely, then positions within a band.

    Were all positions equally likely, the wide empty parts of a scene would take nearly all cuts.
    """
    chosen = bands[rng.integers(len(bands), size=2)]
    first, second = rng.integers(chosen[:, 0], chosen[:, 1], endpoint=True).tolist()
    return min(first, second), max(first, second)


def _visible(polygons: Sequence[NDArray[np.floating]], size: tuple[int, int]) -> _Extents:
    """Bounding boxes float64[K, 4] (x0, y0, x1, y1) of the polygons that meet the image."""
    if not polygons:
        return np.zeros((0, 4))
    boxes = np.array([(*p.min(axis=0), *p.max(axis=0)) for p in polygons], dtype=np.float64)
    width, height = size
    inside_x = (boxes[:, 2] >= 0) & (boxes[:, 0] <= width - 1)
    inside_y = (boxes[:, 3] >= 0) & (boxes[:, 1] <= height - 1)
    return boxes[inside_x & inside_y]
