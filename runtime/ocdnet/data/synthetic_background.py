"""Procedural backgrounds for synthetic scenes: walls, skies, tiles, clutter that is not text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]


def random_colour(rng: np.random.Generator) -> Colour:
    """A BGR colour, 0 to 255: mostly greyish as walls and streets are, one in four vivid."""
    grey = rng.uniform(15, 240)
    chroma = rng.normal(0, 70 if rng.random() < 0.25 else 18, 3)
    blue, green, red = np.clip(grey + chroma, 0, 255).astype(int).tolist()
    return blue, green, red


def background(size: tuple[int, int], clutter: float, rng: np.random.Generator) -> Image:
    """A background without text, uint8[H, W, 3] BGR.

    Args:
        size: width and height in pixels.
        clutter: 0 for one flat colour, 1 for a busy street; scales the number of objects.
        rng: source of every random choice.
    """
    width, height = size
    canvas: Image = np.full((height, width, 3), random_colour(rng), np.uint8)
    if clutter <= 0:
        return canvas
    canvas = _pick(rng, [_gradient, _gradient, _clouds, _tiles])(canvas, rng)
    for _ in range(rng.poisson(7 * clutter)):
        _pick(rng, [_shape, _shape, _wire, _bars, _lattice, _scribble, _speckle])(canvas, rng)
    return _light(canvas, rng) if rng.random() < 0.6 else canvas


def _pick(rng: np.random.Generator, options: list[Callable[..., Any]]) -> Callable[..., Any]:
    return options[int(rng.integers(len(options)))]


def _smooth(shape: tuple[int, int], cells: int, spread: float, rng: np.random.Generator) -> Any:
    """Noise with about `cells` bumps across the image, float32[H, W], deviation `spread`."""
    coarse = rng.normal(0, spread, (cells, cells)).astype(np.float32)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)


def _gradient(canvas: Image, rng: np.random.Generator) -> Image:
    first = np.array(random_colour(rng))
    corners = np.clip(first + rng.normal(0, 30, (2, 2, 1)) + rng.normal(0, 8, (2, 2, 3)), 0, 255)
    height, width = canvas.shape[:2]
    # Only the inner part of the enlarged corners changes, so enlarge twice as far and cut.
    wide = np.asarray(cv2.resize(corners.astype(np.uint8), (2 * width, 2 * height)), np.uint8)
    return wide[height // 2 : height // 2 + height, width // 2 : width // 2 + width].copy()


def _clouds(canvas: Image, rng: np.random.Generator) -> Image:
    shape = canvas.shape[:2]
    height = _smooth(shape, 3, 18, rng) + _smooth(shape, 12, 9, rng) + _smooth(shape, 60, 6, rng)
    return np.asarray(cv2.add(canvas, cv2.merge([height] * 3), dtype=cv2.CV_8U), np.uint8)


def _tiles(canvas: Image, rng: np.random.Generator) -> Image:
    """Bricks or tiles: cells of nearly one colour, with joints."""
    height, width = canvas.shape[:2]
    rows, columns = int(rng.integers(4, 26)), int(rng.integers(3, 16))
    cells = canvas[:1, :1] + rng.normal(0, rng.uniform(2, 14), (rows, columns, 1))
    small = np.clip(cells, 0, 255).astype(np.uint8)
    canvas = np.asarray(
        cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8
    )
    joint, thick = random_colour(rng), int(rng.integers(1, 4))
    shifted = rng.random() < 0.6
    for row in range(rows):
        top, bottom = row * height // rows, (row + 1) * height // rows
        cv2.line(canvas, (0, top), (width, top), joint, thick)
        for column in range(columns + 1):
            x = int((column + 0.5 * (shifted and row % 2)) * width / columns)
            cv2.line(canvas, (x, top), (x, bottom), joint, thick)
    return canvas


def _place(canvas: Image, low: float, high: float, rng: np.random.Generator) -> tuple[int, ...]:
    """A random box x, y, w, h whose sides are `low` to `high` of the image's short side."""
    height, width = canvas.shape[:2]
    w, h = rng.uniform(low, high, 2) * min(width, height)
    x, y = rng.uniform(-w / 2, width - w / 2), rng.uniform(-h / 2, height - h / 2)
    return int(x), int(y), max(int(w), 2), max(int(h), 2)


def _shape(canvas: Image, rng: np.random.Generator) -> None:
    """A filled ellipse, box or polygon: cars, posters, stones."""
    x, y, w, h = _place(canvas, 0.05, 0.6, rng)
    colour, kind = random_colour(rng), rng.integers(3)
    if kind == 0:
        centre, axes = (x + w // 2, y + h // 2), (w // 2, h // 2)
        cv2.ellipse(canvas, centre, axes, rng.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
    elif kind == 1:
        cv2.rectangle(canvas, (x, y), (x + w, y + h), colour, -1)
        if rng.random() < 0.5:
            cv2.rectangle(canvas, (x, y), (x + w, y + h), random_colour(rng), 3)
    else:
        points = rng.uniform((x, y), (x + w, y + h), (int(rng.integers(3, 7)), 2)).astype(np.int32)
        cv2.fillPoly(canvas, [points], colour, cv2.LINE_AA)


def _wire(canvas: Image, rng: np.random.Generator) -> None:
    """Cables and poles: long lines, a few in parallel."""
    height, width = canvas.shape[:2]
    start, end = rng.uniform(-0.2, 1.2, (2, 2)) * (width, height)
    step, colour = rng.uniform(4, 30, 2), random_colour(rng)
    thick = int(rng.integers(1, 7))
    for index in range(int(rng.integers(1, 5))):
        a, b = (
            (start + index * step).astype(int).tolist(),
            (end + index * step).astype(int).tolist(),
        )
        cv2.line(canvas, a, b, colour, thick, cv2.LINE_AA)


def _bars(canvas: Image, rng: np.random.Generator) -> None:
    """Railings, shutters, zebra crossings: the stroke rhythm of a word without its letters."""
    x, y, w, h = _place(canvas, 0.04, 0.4, rng)
    pitch = int(rng.integers(4, 22))
    colour, thick = random_colour(rng), max(1, int(pitch * rng.uniform(0.2, 0.6)))
    if rng.random() < 0.5:
        for offset in range(0, w, pitch):
            cv2.line(canvas, (x + offset, y), (x + offset, y + h), colour, thick)
    else:
        for offset in range(0, h, pitch):
            cv2.line(canvas, (x, y + offset), (x + w, y + offset), colour, thick)


def _lattice(canvas: Image, rng: np.random.Generator) -> None:
    """Fences and rows of windows: a grid of equal cells, drawn or filled."""
    x, y, w, h = _place(canvas, 0.1, 0.5, rng)
    pitch, fill = int(rng.integers(8, 40)), float(rng.uniform(0.3, 0.85))
    colour, thick = random_colour(rng), -1 if rng.random() < 0.5 else int(rng.integers(1, 3))
    for top in range(y, y + h, pitch):
        for left in range(x, x + w, pitch):
            corner = (left + int(fill * pitch), top + int(fill * pitch))
            cv2.rectangle(canvas, (left, top), corner, colour, thick)


def _scribble(canvas: Image, rng: np.random.Generator) -> None:
    """Branches and cracks: a thin random walk."""
    x, y, w, h = _place(canvas, 0.1, 0.5, rng)
    steps = rng.normal(0, (w / 12, h / 12), (int(rng.integers(6, 30)), 2))
    middle = np.array((x + w / 2, y + h / 2))
    points = (middle + steps.cumsum(axis=0)).astype(np.int32)
    colour = random_colour(rng)
    cv2.polylines(canvas, [points], False, colour, int(rng.integers(1, 4)), cv2.LINE_AA)


def _speckle(canvas: Image, rng: np.random.Generator) -> None:
    """Foliage and gravel: a patch of coarse grain."""
    x, y, w, h = _place(canvas, 0.15, 0.7, rng)
    patch = canvas[max(y, 0) : y + h, max(x, 0) : x + w]
    height, width = patch.shape[:2]
    grain = int(rng.integers(2, 7))
    coarse = rng.normal(0, rng.uniform(8, 45), (height // grain + 1, width // grain + 1))
    noise = cv2.resize(coarse.astype(np.float32), (width, height))
    cv2.add(patch, cv2.merge([noise] * 3), dst=patch, dtype=cv2.CV_8U)


def _light(canvas: Image, rng: np.random.Generator) -> Image:
    """Uneven light: a smooth gain of about 0.6 to 1.4."""
    gain = np.clip(1 + _smooth(canvas.shape[:2], 3, 0.18, rng), 0.6, 1.4)
    return np.asarray(cv2.multiply(canvas, cv2.merge([gain] * 3), dtype=cv2.CV_8U), np.uint8)
