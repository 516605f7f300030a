"""A sheet of rendered scenes with their labels, to look at before training on them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ocdnet.data.scenes.dataset import scene_at
from ocdnet.data.scenes.style import SceneStyle
from ocdnet.visualize import draw_labels, write_image

_SHOWN, _COLUMNS = 12, 3


def write_sheet(path: Path, style: SceneStyle, seed: int, count: int) -> None:
    """Write the first scenes of a seed, twelve at most, at half their size."""
    cells = []
    for number in range(1, min(count, _SHOWN) + 1):
        scene = scene_at(style, seed, number)
        words = [p for p, skip in zip(scene.polygons, scene.ignore, strict=True) if not skip]
        ignored = [p for p, skip in zip(scene.polygons, scene.ignore, strict=True) if skip]
        drawn = draw_labels(scene.image, words, ignored)
        cells.append(cv2.resize(drawn, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    columns = min(_COLUMNS, len(cells))
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    rows = [np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)]
    write_image(path, np.asarray(np.vstack(rows), np.uint8))
