"""Makes words.jpg, the picture of README.md: a scene and what `make demo`'s detector finds.

make demo && .venv/bin/python docs/pictures/draw.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ocdnet import Detector
from ocdnet.data.synthetic import SceneStyle, render_scene
from ocdnet.visualize import encoded

ROOT = Path(__file__).resolve().parents[2]
STYLE = SceneStyle(
    size=(960, 540),
    words=(12, 16),
    height=(22, 52),
    rotate=12,
    perspective=0.08,
    ignored=0,
    empty=0,
    clutter=0.6,
    contrast=80,
    blur=0.4,
    noise=3,
    fonts="bundled",
)
SEED = 6


def main() -> None:
    """Write the picture beside this file."""
    scene = render_scene(STYLE, np.random.default_rng(SEED))
    with Detector(ROOT / "demo/train/model_best.pth", size=STYLE.size) as detector:
        page = detector(scene.image)
    picture = encoded(page.draw(), ".jpg", quality=85)
    Path(__file__).with_name("words.jpg").write_bytes(picture)


if __name__ == "__main__":
    main()
