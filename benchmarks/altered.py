"""Pictures to train on for benchmarks/accuracy.py: rendered scenes, and altered photographs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ocdnet.data.annotations import Annotation
from ocdnet.data.scenes.dataset import label_lines
from ocdnet.data.scenes.scene import Scene, add_text, render_scene
from ocdnet.data.scenes.style import SceneStyle
from ocdnet.hardware import cpus

SCENES = SceneStyle(size=(768, 768), curved=0)
PAINTED = replace(SCENES, words=(1, 8))


@dataclass(frozen=True)
class Images:
    """A data path and how many images it has."""

    path: Path
    number: int


def rendered(kind: str, number: int, source: Sequence[Annotation], folder: Path) -> Images:
    """A data path of `number` images, made on all CPUs."""
    start, folder = time.monotonic(), folder / kind
    for part in ("img", "gt"):
        (folder / part).mkdir(parents=True)
    with ProcessPoolExecutor(cpus()) as pool:
        work = partial(render, kind=kind, source=source, folder=folder)
        list(pool.map(work, range(number), chunksize=8))
    print(f"{number} {kind} in {time.monotonic() - start:.1f} s", flush=True)
    return Images(folder, number)


def altered(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A picture under another light and through another camera."""
    # Mild: words that drown in black would still be labelled.
    levels = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.uniform(-0.35, 0.25))
    gain, shift = rng.uniform(0.75, 1.25) * rng.uniform(0.85, 1.15, 3), rng.uniform(-8, 25)
    table = np.clip(255 * levels * gain + shift, 0, 255).astype(np.uint8)
    order = rng.permutation(3) if rng.random() < 0.3 else np.arange(3)
    lit = np.asarray(cv2.LUT(np.ascontiguousarray(image[:, :, order]), table[:, None]), np.uint8)
    if rng.random() < 0.4:
        lit = np.asarray(cv2.GaussianBlur(lit, (0, 0), rng.uniform(0.4, 1.4)), np.uint8)
    return _as_jpeg(lit, rng)


def _as_jpeg(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 96))]
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], 1), np.uint8)


def render(number: int, kind: str, source: Sequence[Annotation], folder: Path) -> None:
    """Write image `number` of `scenes`, `altered` or `real` with its labels.

    As .bmp: in 8 minutes each is read hundreds of times, and decoding a JPEG costs 3 ms more.
    """
    cv2.setNumThreads(0)
    rng = np.random.default_rng([number, len(kind)])
    if kind == "scenes":
        scene = render_scene(SCENES, rng)
        scene = replace(scene, image=_as_jpeg(scene.image, rng))
    else:
        given = source[number % len(source)]
        image = np.asarray(cv2.imread(str(given.image)), np.uint8)
        scene = Scene(image, [*given.polygons], [*given.texts], given.ignore.tolist())
        if kind == "altered":
            if rng.random() < 0.6:
                add_text(scene, PAINTED, rng)
            scene = replace(scene, image=altered(scene.image, rng))
    cv2.imwrite(str(folder / "img" / f"img_{number}.bmp"), scene.image)
    label = "".join(f"{line}\n" for line in label_lines(scene))
    (folder / "gt" / f"gt_img_{number}.txt").write_text(label, encoding="utf-8")
