"""Rendered pictures: light blocks on dark ground, each picture its own."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SIZE = 320, 192


def picture(number: int) -> bytes:
    """A PNG of up to four blocks."""
    random = np.random.default_rng(number)
    image = np.full((SIZE[1], SIZE[0], 3), 20, np.uint8)
    for place in range(int(random.integers(0, 5))):
        left, top = 12 + 160 * (place % 2), 12 + 96 * (place // 2)
        width, height = (int(side) for side in random.integers((40, 20), (120, 60)))
        image[top : top + height, left : left + width] = 235
    return cv2.imencode(".png", image)[1].tobytes()


def write(folder: Path, count: int) -> Path:
    """Pictures of these numbers, and one that is cut off."""
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number:06d}.png").write_bytes(picture(number))
    (folder / "broken.png").write_bytes(picture(0)[:60])
    return folder
