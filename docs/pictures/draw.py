"""Makes words.jpg, the picture of README.md: a scene and what a detector of `make demo` finds.

From the repository's folder, with a checkpoint of your own if you like:

    make demo && .venv/bin/python docs/pictures/draw.py [demo/train/model_best.pth]
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from ocdnet import Detector
from ocdnet.data.scenes.scene import render_scene
from ocdnet.data.scenes.style import EASY
from ocdnet.visualize import encoded

STYLE = replace(EASY, size=(960, 544), words=(11, 14), height=(22, 46), ignored=0, empty=0)
SEED = 2


def main(model: str = "demo/train/model_best.pth") -> None:
    """Write the picture beside this file."""
    scene = render_scene(STYLE, np.random.default_rng(SEED))
    with Detector(model, size=STYLE.size, box_thresh=0.4) as detector:
        page = detector(scene.image)
    picture = encoded(page.draw(), ".jpg", quality=85)
    Path(__file__).with_name("words.jpg").write_bytes(picture)


if __name__ == "__main__":
    main(*sys.argv[1:])
