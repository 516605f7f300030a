"""What the benchmarks measure on: words, probability maps and pictures of their own making."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ocdnet.data.scenes.dataset import label_lines
from ocdnet.data.scenes.scene import render_scene
from ocdnet.data.scenes.style import SceneStyle

ICDAR = Path(
    os.environ.get("OCDNET_BENCH_DATA") or Path(__file__).parents[2] / "shared/data/icdar2015"
)
"""Real pictures, where the project's data folder is beside the repository."""

Quad = NDArray[np.float32]


def words(number: int, side: int = 640, seed: int = 0) -> list[Quad]:
    """Turned rectangles of the sizes that ICDAR2015's words have in a training crop.

    Of its readable words the middle 80 % are 28 to 132 by 13 to 44 pixels; the crop enlarges them
    1.7 times.
    """
    rng = np.random.default_rng(seed)
    return [
        _turned(
            rng.uniform(60, side - 60, 2), rng.uniform((40, 16), (200, 60)), rng.uniform(-15, 15)
        )
        for _ in range(number)
    ]


def _turned(centre: NDArray[np.float64], sides: NDArray[np.float64], degrees: float) -> Quad:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * sides / 2
    return (corners @ np.array([[cos, sin], [-sin, cos]]) + centre).astype(np.float32)


def probability_map(
    regions: int, size: tuple[int, int] = (736, 1280), seed: int = 0
) -> NDArray[np.float32]:
    """float32[H, W] with that many soft, turned text kernels, none touching another."""
    height, width = size
    rng = np.random.default_rng(seed)
    columns = int(np.ceil(np.sqrt(regions * width / height)))
    rows = -(-regions // columns)
    cell = np.array([width / columns, height / rows])
    high = np.minimum(cell * (0.8, 0.5), (140, 34))
    drawn = np.zeros(size, np.float32)
    for number in range(regions):
        centre = (np.array([number % columns, number // columns]) + 0.5) * cell
        kernel = _turned(centre, rng.uniform(high * 0.6, high), rng.uniform(-12, 12))
        cv2.fillPoly(drawn, [kernel.astype(np.int32)], float(rng.uniform(0.75, 0.98)))
    return cv2.GaussianBlur(drawn, (0, 0), 1.0)


def quads(number: int, rng: np.random.Generator, side: float = 700) -> list[Quad]:
    """Turned rectangles on a grid; neighbours may overlap a little."""
    columns = int(np.ceil(np.sqrt(number)))
    cell = side / columns
    return [
        _turned(
            (np.array([i % columns, i // columns]) + 0.5) * cell + rng.uniform(-4, 4, 2),
            np.array([cell * 0.8, cell * 0.4]),
            rng.uniform(-15, 15),
        )
        for i in range(number)
    ]


def image_with_text(path: Path, seed: int = 0) -> tuple[list[Quad], list[bool]]:
    """A rendered 1280x720 JPEG at the path; its words, and which are not to be read."""
    scene = render_scene(SceneStyle(empty=0, curved=0), np.random.default_rng(seed))
    cv2.imwrite(str(path), scene.image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    lines = [line.split(",", 8) for line in label_lines(scene)]
    polygons = [np.array(line[:8], np.float32).reshape(4, 2) for line in lines]
    return polygons, [line[8].strip() == "###" for line in lines]


def folder_of(images: int, folder: Path, split: str = "test") -> Path:
    """A data path of images: ICDAR2015's where it is here, else rendered scenes."""
    (folder / "img").mkdir(parents=True)
    (folder / "gt").mkdir()
    real = sorted((ICDAR / split / "img").glob("*.jpg"), key=lambda path: int(path.stem[4:]))
    real = real[:images]
    for path in real:
        (folder / "img" / path.name).symlink_to(path)
        name = f"gt_{path.stem}.txt"
        (folder / "gt" / name).symlink_to(path.parents[1] / "gt" / name)
    for number in range(len(real), images):
        polygons, ignored = image_with_text(folder / "img" / f"scene_{number}.jpg", number)
        lines = [
            ",".join(str(round(float(v))) for v in p.ravel()) + (",###" if skip else ",word")
            for p, skip in zip(polygons, ignored, strict=True)
        ]
        (folder / "gt" / f"gt_scene_{number}.txt").write_text("\n".join(lines) + "\n")
    return folder
