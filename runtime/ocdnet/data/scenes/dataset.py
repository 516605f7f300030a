"""A set of rendered scenes on disk, in ICDAR2015's layout."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from ocdnet.data.new_folder import new_folder
from ocdnet.data.scenes.lettering import divided
from ocdnet.data.scenes.scene import Scene, render_scene
from ocdnet.data.scenes.style import SceneStyle
from ocdnet.errors import UsageError
from ocdnet.hardware import cpus

_FEW_PIXELS = 30_000_000
"""Sets of fewer pixels are rendered in this process: others take a second to start."""


class Counts(NamedTuple):
    """What a set holds."""

    images: int
    words: int
    ignored: int
    empty: int


def write_dataset(
    out: Path,
    count: int,
    style: SceneStyle,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Counts:
    """Render a set into `out`: `img/img_N.jpg` and `gt/gt_img_N.txt`, N from 1.

    The set is whole or absent. Image N depends on the style, the seed and N alone, not on how many
    there are nor on the number of processes.

    Args:
        out: folder to make; absent or empty.
        count: number of images, 1 or more.
        style: how the scenes look.
        seed: 0 or more.
        progress: called with (images done, images in all) after each image.

    Raises:
        UsageError: `out` is a file or not empty, the seed is negative, or there is no image.
        RunError: the folder can't be written.
        EnvironmentFault: Pillow or matplotlib's fonts are missing.
    """
    if seed < 0:
        raise UsageError("bad-range", "The seed is negative", seed, "0 or more")
    if count < 1:
        raise UsageError("bad-range", "There is nothing to render", count, "1 or more images")
    with new_folder(out) as place:
        build = place.scratch / "set"
        for kind in ("img", "gt"):
            (build / kind).mkdir(parents=True)
        render = partial(_write, build, style, seed)
        total = Counts(0, 0, 0, 0)
        with _mapping(count * style.size[0] * style.size[1]) as mapped:
            for done, one in enumerate(mapped(render, range(1, count + 1)), start=1):
                total = Counts(*(a + b for a, b in zip(total, one, strict=True)))
                if progress is not None:
                    progress(done, count)
        place.take(build)
    return total


Mapped = Callable[[Callable[[int], Counts], range], Iterator[Counts]]


@contextmanager
def _mapping(pixels: int) -> Iterator[Mapped]:
    """`map` in order, in several processes where that is worth it."""
    processes = cpus()
    if processes < 2 or pixels < _FEW_PIXELS:
        yield map
        return
    # Not forked: a copy of a process whose OpenCV has threads can wait for them for ever.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, _in_process) as pool:
        yield lambda work, numbers: pool.map(work, numbers, chunksize=4)


def _in_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process stops the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)


def _end_with_parent() -> None:
    """A first process that is killed tells nobody; the others would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def scene_at(style: SceneStyle, seed: int, number: int) -> Scene:
    """Scene `number` of a seed, 1 or more, before it becomes a JPEG."""
    return _photo(style, seed, number)[0]


def _photo(style: SceneStyle, seed: int, number: int) -> tuple[Scene, bytes]:
    rng = np.random.default_rng([seed, number])
    scene = render_scene(style, rng)
    quality = int(rng.integers(style.jpeg[0], style.jpeg[1] + 1))
    _, data = cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return scene, data.tobytes()


def _write(folder: Path, style: SceneStyle, seed: int, number: int) -> Counts:
    scene, data = _photo(style, seed, number)
    (folder / "img" / f"img_{number}.jpg").write_bytes(data)
    label = "".join(f"{line}\n" for line in label_lines(scene, style.curved > 0))
    (folder / "gt" / f"gt_img_{number}.txt").write_text(label, encoding="utf-8", newline="\n")
    return Counts(1, len(scene.texts), sum(scene.ignore), not scene.texts)


def label_lines(scene: Scene, outlines: bool = False) -> list[str]:
    """ICDAR2015 lines `x1,y1,...,x4,y4,text`: whole pixels inside the image, `###` if ignored.

    With `outlines` each has six points or more: files that hold bent words are read as outlines
    only where most lines are (references/data-format.md).
    """
    most = np.array(scene.image.shape[1::-1]) - 1
    lines = []
    for polygon, text, ignore in zip(scene.polygons, scene.texts, scene.ignore, strict=True):
        points = divided(polygon, 2) if outlines and len(polygon) == 4 else polygon
        numbers = np.clip(np.round(points), 0, most).astype(int).ravel().tolist()
        lines.append(",".join([*map(str, numbers), "###" if ignore else text]))
    return lines
