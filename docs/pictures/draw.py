"""Makes the pictures of README.md and docs/how-it-works.md, with a detector of `make demo`.

From the repository's folder, with a checkpoint of your own if you like:

    make demo && .venv/bin/python docs/pictures/draw.py [demo/train/model_best.pth]

words.jpg is a scene and what is found in it. The steps of how-it-works.md, of a smaller scene:
labels.jpg, kernels.jpg, border.jpg (what a training is shown), probability.jpg, binary.jpg,
boxes.jpg (what a detector makes of it).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ocdnet import Detector
from ocdnet.data.scenes.scene import Scene, render_scene
from ocdnet.data.scenes.style import EASY
from ocdnet.data.targets import make_targets
from ocdnet.postprocess import DBPostprocessor
from ocdnet.visualize import draw_labels, draw_polygons, encoded, heat_map

Image = NDArray[np.uint8]

STYLE = replace(EASY, size=(960, 544), words=(11, 14), height=(22, 46), ignored=0, empty=0)
SEED = 2
SMALL = replace(EASY, size=(480, 288), words=(6, 8), ignored=0.2, empty=0)
SMALL_SEED = 0
BOX_THRESH = 0.4  # A training of minutes is not as sure as one of hours.
HALF = 0.5  # Of a picture's brightness, below what is drawn on it.
YELLOW, BLUE = (66, 228, 240), (233, 180, 86)


def main(model: str = "demo/train/model_best.pth") -> None:
    """Write the pictures beside this file."""
    scene = render_scene(STYLE, np.random.default_rng(SEED))
    with Detector(model, size=STYLE.size, box_thresh=BOX_THRESH) as detector:
        _write("words", detector(scene.image).draw())
    scene = render_scene(SMALL, np.random.default_rng(SMALL_SEED))
    for name, picture in (_targets(scene) | _found(scene, model)).items():
        _write(name, picture)


def _targets(scene: Scene) -> dict[str, Image]:
    """What a training is shown: labels, kernels with the mask, the threshold map."""
    words = [polygon for polygon, off in zip(scene.polygons, scene.ignore, strict=True) if not off]
    ignored = [polygon for polygon, off in zip(scene.polygons, scene.ignore, strict=True) if off]
    targets = make_targets(scene.polygons, scene.ignore, scene.image.shape[:2])
    raised = targets.threshold_map - targets.threshold_map.min()
    kernels = _faded(scene)
    kernels[targets.shrink_map == 1] = YELLOW
    kernels[targets.shrink_mask == 0] = BLUE
    return {
        "labels": draw_labels(scene.image, words, ignored),
        "kernels": draw_polygons(kernels, words, YELLOW, 1),
        "border": heat_map(scene.image, raised / raised.max()),
    }


def _found(scene: Scene, model: str) -> dict[str, Image]:
    """What a detector makes of it: its map, the map cut at `thresh`, boxes before and after."""
    with Detector(model, size=SMALL.size) as detector:
        page = detector(scene.image)
    probability, frame = page.held_map()
    rules = DBPostprocessor(box_thresh=BOX_THRESH)
    kernels = [rules.kernel(probability, outline) for outline in rules.contours(probability)[0]]
    kept = [one for one in kernels if one is not None and one[1] >= BOX_THRESH]
    boxes = rules.grown(kept, frame)[0].polygons
    before = draw_polygons(_faded(scene), [polygon for polygon, _ in kept], BLUE, 1)
    binary = np.asarray(255 * (probability > rules.thresh), np.uint8)
    return {
        "probability": heat_map(scene.image, probability),
        "binary": np.asarray(cv2.cvtColor(binary, cv2.COLOR_GRAY2BGR), np.uint8),
        "boxes": draw_polygons(before, boxes, YELLOW, 1),
    }


def _faded(scene: Scene) -> Image:
    return np.asarray(scene.image * HALF, np.uint8)


def _write(name: str, picture: Image) -> None:
    Path(__file__).with_name(f"{name}.jpg").write_bytes(encoded(picture, ".jpg", quality=80))


if __name__ == "__main__":
    main(*sys.argv[1:])
