"""Augmentations of geometry, blur and colour, collected in a view before a pixel is touched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ocdnet.geometry import Polygon

Matrix = NDArray[np.float64]

_MIDDLE = 127.5
"""Of the scale of a channel."""


@dataclass(frozen=True, slots=True)
class View:
    """The canvas that the steps so far lead to; nothing is drawn on it yet.

    Pixel centres have whole coordinates: a flip maps x to width - 1 - x, and a scaling by s maps
    x to (x + 1/2) s - 1/2, as cv2.resize does. Image and polygons go through the same matrix.

    Attributes:
        matrix: float64[3, 3], pixel of the image to pixel of the canvas.
        size: (width, height) of the canvas.
        variance: of the Gaussian blur collected so far, in squared canvas pixels.
        colour: float64[4, 4], channels (and a one) of a pixel to what they become; None: the same.
    """

    matrix: Matrix
    size: tuple[int, int]
    variance: float = 0.0
    colour: Matrix | None = None

    def scaled(self, fx: float, fy: float) -> View:
        """The view with its canvas stretched."""
        width, height = self.size
        stretch = np.array([[fx, 0, (fx - 1) / 2], [0, fy, (fy - 1) / 2], [0, 0, 1]])
        size = max(1, round(width * fx)), max(1, round(height * fy))
        variance = self.variance * fx * fy
        return replace(self, matrix=stretch @ self.matrix, size=size, variance=variance)

    def cropped(self, x0: int, y0: int, x1: int, y1: int) -> View:
        """The view of canvas columns x0 .. x1 - 1 and rows y0 .. y1 - 1 alone."""
        shift = np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1]], dtype=np.float64)
        return replace(self, matrix=shift @ self.matrix, size=(x1 - x0, y1 - y0))

    def move(self, polygons: Sequence[Polygon]) -> list[Polygon]:
        """The polygons on the canvas, float32[N, 2] each."""
        linear, offset = self.matrix[:2, :2].T, self.matrix[:2, 2]
        return [(polygon @ linear + offset).astype(np.float32) for polygon in polygons]


class Step(Protocol):
    """One augmentation: draws its parameters from `rng` and extends the view."""

    def __call__(self, view: View, rng: np.random.Generator) -> View:
        """The view after this step."""


@dataclass(frozen=True, slots=True)
class Fliplr:
    """Mirror left and right with probability p."""

    p: float

    def __call__(self, view: View, rng: np.random.Generator) -> View:
        """The view after this step."""
        if rng.random() >= self.p:
            return view
        mirror = np.array([[-1, 0, view.size[0] - 1], [0, 1, 0], [0, 0, 1]], dtype=np.float64)
        return replace(view, matrix=mirror @ view.matrix)


@dataclass(frozen=True, slots=True)
class Affine:
    """Rotate about the centre, canvas kept, by degrees drawn from `rotate`, with probability p."""

    rotate: tuple[float, float]
    p: float

    def __call__(self, view: View, rng: np.random.Generator) -> View:
        """The view after this step."""
        if rng.random() >= self.p:
            return view
        angle = math.radians(rng.uniform(*self.rotate))
        cos, sin = math.cos(angle), math.sin(angle)
        x, y = (view.size[0] - 1) / 2, (view.size[1] - 1) / 2
        turn = np.array(
            [[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y], [0, 0, 1]]
        )
        return replace(view, matrix=turn @ view.matrix)


@dataclass(frozen=True, slots=True)
class Resize:
    """Scale the canvas by a factor drawn from `size`, with probability p."""

    size: tuple[float, float]
    p: float

    def __call__(self, view: View, rng: np.random.Generator) -> View:
        """The view after this step."""
        if rng.random() >= self.p:
            return view
        factor = rng.uniform(*self.size)
        return view.scaled(factor, factor)


@dataclass(frozen=True, slots=True)
class GaussianBlur:
    """Blur by a sigma (canvas pixels) drawn from `sigma`, with probability p."""

    sigma: tuple[float, float]
    p: float

    def __call__(self, view: View, rng: np.random.Generator) -> View:
        """The view after this step."""
        if rng.random() >= self.p:
            return view
        # Gaussian blurs add up in variance, so one blur of the finished crop does them all.
        return replace(view, variance=view.variance + rng.uniform(*self.sigma) ** 2)


@dataclass(frozen=True, slots=True)
class ColorJitter:
    """Another light and another camera, with probability p; ours, not TAO's.

    Each attribute is the most by which a factor differs from 1; factors are drawn evenly.
    Brightness multiplies, contrast stretches about the middle of the scale, saturation about the
    mean of a pixel's channels: so the order of channels does not matter. All are linear, and become
    one matrix.
    """

    brightness: float
    contrast: float
    saturation: float
    p: float

    def __call__(self, view: View, rng: np.random.Generator) -> View:
        """The view after this step."""
        if rng.random() >= self.p:
            return view
        spans = self.brightness, self.contrast, self.saturation
        brightness, contrast, saturation = (rng.uniform(1 - span, 1 + span) for span in spans)
        colour = np.eye(4)
        colour[:3, :3] = saturation * np.eye(3) + (1 - saturation) / 3
        colour[:3] *= brightness * contrast
        colour[:3, 3] = (1 - contrast) * _MIDDLE
        return replace(view, colour=colour if view.colour is None else colour @ view.colour)
