"""How a scene is lit and photographed: shadow, glare, night, blur, noise; what can't be read."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from ocdnet.data.scenes.drawing import Image, lit, octaves
from ocdnet.data.scenes.style import SceneStyle

_SMALLEST = 9.0
"""Height of a word in pixels below which nobody reads it."""
_FAINTEST = 30.0
"""Difference of grey levels within a word below which nobody sees it."""
_BLURRED = 0.16
"""Standard deviation of the blur, as a share of a word's height, from which nobody reads it."""


def photographed(
    image: Image,
    outlines: list[npt.NDArray[np.float32]],
    style: SceneStyle,
    rng: np.random.Generator,
) -> tuple[Image, list[bool]]:
    """The photograph of a scene, and which of its words can't be read in it."""
    if style.light > 0:
        image = _toned(_glare(_shade(image, style.light, rng), style.light, rng), style.light, rng)
    image, sigma = _blurred(image, style.blur, rng)
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    unreadable = [is_unreadable(grey, outline, sigma) for outline in outlines]
    return _noisy(image, style.noise, rng), unreadable


def is_unreadable(grey: Image, outline: npt.NDArray[np.float32], sigma: float) -> bool:
    """Whether a word is too small, too faint or too blurred."""
    _, sides, _ = cv2.minAreaRect(outline)
    height = min(sides)
    if height < max(_SMALLEST, sigma / _BLURRED):
        return True
    x, y, w, h = cv2.boundingRect(outline)
    x, y = max(x, 0), max(y, 0)
    inside: Image = np.zeros((h, w), np.uint8)
    cv2.fillPoly(inside, [np.round(outline - (x, y)).astype(np.int32)], (1,))
    window = grey[y : y + h, x : x + w]
    levels = window[inside[: window.shape[0], : window.shape[1]] > 0]
    if levels.size < 8:
        return True
    low, high = np.percentile(levels, (5, 95))
    return bool(high - low < _FAINTEST)


def _shade(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Light that falls off, and shadows with an edge."""
    height, width = image.shape[:2]
    shape = (height // 8 + 1, width // 8 + 1)
    gain = 1 + octaves(shape, 2, 2, rng) * np.float32(rng.uniform(0, 0.2) * strength)
    if rng.random() < 0.4 * strength:
        mask = np.zeros(shape, np.float32)
        number = int(rng.integers(3, 6))
        points = rng.uniform(-0.3, 1.3, (number, 2)) * shape[::-1]
        cv2.fillPoly(mask, [points.astype(np.int32)], 1.0)
        soft = cv2.GaussianBlur(mask, (0, 0), float(rng.uniform(0.3, 12)))
        gain *= 1 - np.asarray(soft, np.float32) * np.float32(rng.uniform(0.2, 0.65))
    return lit(image, np.clip(gain, 0.25, 1.9).astype(np.float32))


def _glare(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Reflections and the veil around lamps: smooth white spots."""
    if rng.random() > 0.35 * strength:
        return image
    height, width = image.shape[:2]
    veil = np.zeros((height // 8 + 1, width // 8 + 1), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        centre = (rng.uniform(0, 1, 2) * veil.shape[::-1]).astype(int).tolist()
        axes = np.maximum(rng.uniform(0.01, 0.25, 2) * veil.shape[1], 1).astype(int).tolist()
        bright = int(rng.integers(40, 200))
        cv2.ellipse(veil, centre, axes, rng.uniform(0, 180), 0, 360, (bright,), -1)
    soft = cv2.GaussianBlur(veil, (0, 0), float(rng.uniform(1, 12)))
    wide = cv2.resize(soft, (width, height))
    return np.asarray(cv2.add(image, cv2.merge([wide] * 3)), np.uint8)


def _toned(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Exposure, contrast, colour cast and saturation as photographs have them.

    Means and deviations are those of incidental photographs: of ICDAR2015's training pictures the
    middle 90 % have a mean grey of 63 to 124 and a deviation of 41 to 79.
    """
    small = image[::8, ::8].reshape(-1, 3).astype(np.float32)
    weights = np.array((0.114, 0.587, 0.299), np.float32)
    grey = small @ weights
    mean, deviation = rng.normal(96, 24), rng.normal(56, 12)
    scale = float(np.clip(deviation / max(float(grey.std()), 1), 0.5, 1.7)) ** min(strength, 1)
    saturation = rng.uniform(0.45, 1.25)
    cast = 1 + rng.normal(0, 0.07, 3) * strength
    matrix = (saturation * np.eye(3) + (1 - saturation) * weights) * scale * cast[:, None]
    middle = np.clip(mean, 35, 170) * strength + float(grey.mean()) * (1 - min(strength, 1))
    shift = middle - float((small @ matrix.T.astype(np.float32)).mean())
    affine = np.column_stack((matrix, np.full(3, shift))).astype(np.float32)
    return np.asarray(cv2.transform(image, affine), np.uint8)


def _blurred(image: Image, most: float, rng: np.random.Generator) -> tuple[Image, float]:
    """Defocus, shake or few pixels, and how strong (as a standard deviation in pixels)."""
    sigma = float(most * rng.uniform(0, 1) ** 1.5)
    kind = rng.random()
    if sigma < 0.25:
        return image, 0.0
    if kind < 0.25:
        length = max(3, round(sigma * 3.4))
        kernel = np.zeros((length, length), np.float32)
        angle = rng.uniform(0, np.pi)
        reach = np.array((np.cos(angle), np.sin(angle))) * (length - 1) / 2
        ends = [np.round((length - 1) / 2 + side * reach).astype(int).tolist() for side in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0)
        image = np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)
    elif kind < 0.45 and sigma > 0.5:
        height, width = image.shape[:2]
        fewer = 1 + sigma * 0.7
        size = (max(2, int(width / fewer)), max(2, int(height / fewer)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        image = np.asarray(cv2.resize(small, (width, height)), np.uint8)
    else:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
    if rng.random() < 0.4:  # as cameras sharpen
        soft = cv2.GaussianBlur(image, (0, 0), 1.5)
        strength = float(rng.uniform(0.3, 1.2))
        image = np.asarray(cv2.addWeighted(image, 1 + strength, soft, -strength, 0), np.uint8)
    return image, sigma


def _noisy(image: Image, most: float, rng: np.random.Generator) -> Image:
    """The sensor's noise: of each pixel, or coarser and in colours as after a phone's filter."""
    deviation = most * rng.uniform() ** 1.5
    if deviation < 0.5:
        return image
    height, width = image.shape[:2]
    coarse = 2 if rng.random() < 0.4 else 1
    shape = (-(-height // coarse), -(-width // coarse), 3)
    # Bytes into a table of the normal distribution: faster than drawing a normal for each pixel.
    table = np.clip(np.sort(rng.normal(128, deviation, 256)), 0, 255).astype(np.uint8)
    grain = table[np.frombuffer(rng.bytes(int(np.prod(shape))), np.uint8).reshape(shape)]
    if coarse > 1:
        grain = np.asarray(cv2.resize(grain, (2 * shape[1], 2 * shape[0])), np.uint8)
    return np.asarray(cv2.addWeighted(image, 1, grain[:height, :width], 1, -128), np.uint8)
