"""Rendered pictures: light blocks on dark ground, each picture its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

SIZE = 320, 192


def blocks(number: int) -> Iterator[tuple[int, int, int, int]]:
    """Left, top, right and bottom of a picture's blocks, up to four."""
    random = np.random.default_rng(number)
    for place in range(int(random.integers(0, 5))):
        left, top = 12 + 160 * (place % 2), 12 + 96 * (place // 2)
        width, height = (int(side) for side in random.integers((40, 20), (120, 60)))
        yield left, top, left + width, top + height


def picture(number: int) -> bytes:
    """A PNG of its blocks."""
    image = np.full((SIZE[1], SIZE[0], 3), 20, np.uint8)
    for left, top, right, bottom in blocks(number):
        image[top:bottom, left:right] = 235
    return cv2.imencode(".png", image)[1].tobytes()


def labels(number: int) -> str:
    """The blocks as ICDAR2015's lines; every third picture lacks its first."""
    lines = [
        f"{left},{top},{right},{top},{right},{bottom},{left},{bottom},word\n"
        for left, top, right, bottom in blocks(number)
    ]
    return "".join(lines[number % 3 == 0 :])


def write_labelled(folder: Path, count: int) -> Path:
    """A split folder of pictures of these numbers."""
    for part in ("img", "gt"):
        (folder / part).mkdir(parents=True)
    for number in range(count):
        (folder / "img" / f"{number:06d}.png").write_bytes(picture(number))
        (folder / "gt" / f"{number:06d}.txt").write_text(labels(number))
    return folder


def write(folder: Path, count: int) -> Path:
    """Pictures of these numbers, and one that is cut off."""
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number:06d}.png").write_bytes(picture(number))
    (folder / "broken.png").write_bytes(picture(0)[:60])
    return folder
