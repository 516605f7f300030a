"""A training sample in the classic order: the whole image is flipped, turned and scaled, then cut.

The random numbers are drawn as ours draws them and the window is ours, so that both make the same
sample.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from baselines.label_maps import Maps, label_maps
from ocdnet.data.crop import choose_window

MEAN = (122.67891434, 116.66876762, 104.00698793)
Polygons = list[NDArray[np.float32]]


def sample(
    path: str,
    polygons: Sequence[NDArray[np.float32]],
    ignore: Sequence[bool],
    rng: np.random.Generator,
    side: int = 640,
) -> tuple[NDArray[np.float32], Maps]:
    """Normalised image float32[3, side, side] and its label maps."""
    image = cv2.imread(path, cv2.IMREAD_COLOR).astype(np.float32)
    image, moved = augment(image, polygons, rng)
    image, moved, size = crop(image, moved, ignore, side, rng)
    seen = [i for i, polygon in enumerate(moved) if _meets(polygon, size)]
    maps = label_maps([moved[i] for i in seen], [ignore[i] for i in seen], (side, side))
    image -= np.array(MEAN, np.float32)
    image /= 255.0
    return np.ascontiguousarray(image.transpose(2, 0, 1)), maps


def augment(
    image: NDArray[np.float32],
    polygons: Sequence[NDArray[np.float32]],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], Polygons]:
    """TAO's list: mirror (p 0.5), rotate by at most 10 degrees, scale by 0.5 to 3."""
    moved = [polygon.copy() for polygon in polygons]
    height, width = image.shape[:2]
    if rng.random() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
        for polygon in moved:
            polygon[:, 0] = width - 1 - polygon[:, 0]
    if rng.random() < 1:
        angle = rng.uniform(-10, 10)
        turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -angle, 1.0)
        image = cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_LINEAR)
        moved = [(p @ turn[:, :2].T + turn[:, 2]).astype(np.float32) for p in moved]
    if rng.random() < 1:
        factor = rng.uniform(0.5, 3)
        size = max(1, round(width * factor)), max(1, round(height * factor))
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        moved = [((p + 0.5) * factor - 0.5).astype(np.float32) for p in moved]
    return image, moved


def crop(
    image: NDArray[np.float32],
    polygons: Sequence[NDArray[np.float32]],
    ignore: Sequence[bool],
    side: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], Polygons, tuple[int, int]]:
    """A window that cuts no text, scaled to the side with its aspect kept, padded below."""
    height, width = image.shape[:2]
    cared = [polygon for polygon, ignored in zip(polygons, ignore, strict=True) if not ignored]
    window = choose_window(cared, (width, height), 50, 0.1, rng) or (0, 0, width, height)
    x0, y0, x1, y1 = window
    factor = min(side / (x1 - x0), side / (y1 - y0))
    size = max(1, round((x1 - x0) * factor)), max(1, round((y1 - y0) * factor))
    padded = np.zeros((side, side, 3), np.float32)
    padded[: size[1], : size[0]] = cv2.resize(image[y0:y1, x0:x1], size)
    corner = np.array([x0, y0], np.float32)
    moved = [((p - corner + 0.5) * factor - 0.5).astype(np.float32) for p in polygons]
    return padded, moved, size


def _meets(polygon: NDArray[np.float32], size: tuple[int, int]) -> bool:
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    return bool((high >= 0).all() and (low <= np.array(size) - 1).all())
