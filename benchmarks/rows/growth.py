"""How cost grows: with regions, with pixels, with labels. Linear is 1."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import scenes
from ocdnet.data.steps import compile_train
from ocdnet.data.targets import make_targets
from ocdnet.metrics import match_image
from ocdnet.postprocess import DBPostprocessor
from rows.detection import matches
from rows.samples import TRAIN_YAML
from timing import Row, medians, threads

LINEAR = 1.15
"""Exponent up to which growth counts as linear: timings of milliseconds differ by a tenth."""
LABELS = (1_000, 10_000, 100_000)
SECONDS, MEGABYTES = 10.0, 200.0

_INDEX = """
import sys, time
from ocdnet.data.annotations import index_dataset

def most():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3

before = most()
start = time.perf_counter()
found = index_dataset([sys.argv[1]], ["###"])
seconds = time.perf_counter() - start
print(len(found), seconds, most() - before)
"""


def regions_and_pixels(rounds: int) -> Iterator[Row]:
    """Samples, label maps, post-processing and metric, over a factor of sixteen."""
    post = DBPostprocessor()
    yield _row(
        "label maps / words",
        (20, 80, 320),
        lambda number: _maps(number, 1280),
        rounds,
    )
    yield _row("sample / words", (20, 80, 320), lambda number: _sample(number, 720), rounds)
    yield _row(
        "sample / pixels of the image",
        (360**2, 720**2, 1440**2),
        lambda pixels: _sample(20, math.isqrt(pixels)),
        rounds,
    )
    yield _row("label maps / pixels", (320**2, 640**2, 1280**2), _maps_of_pixels, rounds)
    yield _row(
        "post-processing / regions",
        (60, 240, 960),
        lambda number: _bound(post, scenes.probability_map(number)),
        rounds,
    )
    yield _row("post-processing / pixels", (368 * 640, 736 * 1280, 1472 * 2560), _post, rounds)
    yield _row(
        "metric / words",
        (30, 120, 480),
        lambda number: _bound(lambda case: match_image(*case), matches(1, number)[0]),
        rounds,
    )


def labels(rounds: int) -> Iterator[Row]:
    """Start-up of a dataset with its number of label files."""
    taken = []
    with tempfile.TemporaryDirectory() as name:
        for number in LABELS:
            folder = _write_labels(Path(name) / str(number), number)
            command = [sys.executable, "-c", _INDEX, str(folder)]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found, seconds, megabytes = (float(word) for word in told.split())
            if found != number:
                raise RuntimeError(f"{found} images of {number} were found")
            taken.append((seconds, megabytes))
    seconds, megabytes = taken[-1]
    yield Row(f"index {LABELS[-1]:,} labels: seconds", seconds, None, 1, SECONDS)
    yield Row(f"index {LABELS[-1]:,} labels: memory", megabytes, None, 1, MEGABYTES, unit="MB")
    times = [seconds for seconds, _ in taken]
    yield _exponent("start-up / labels", LABELS[1:], times[1:])


def _maps(words: int, side: int) -> Callable[[], Any]:
    quads, ignore = scenes.words(words, side), [False] * words
    return lambda: make_targets(quads, ignore, (side, side))


def _sample(words: int, side: int) -> Callable[[], Any]:
    """Decoding, augmentation and maps of a square image with its words."""
    quads = [quad * (side / 1280) for quad in scenes.words(words, 1280)]
    _, encoded = cv2.imencode(".png", np.full((side, side, 3), 128, np.uint8))
    transform, ignore = compile_train(TRAIN_YAML), np.zeros(words, np.bool_)

    def work() -> None:
        for seed in range(8):
            image = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
            transform(image, quads, ignore, np.random.default_rng(seed))

    return work


def _maps_of_pixels(pixels: int) -> Callable[[], Any]:
    """The same twenty words, enlarged with the map."""
    side = math.isqrt(pixels)
    quads = [quad * (side / 640) for quad in scenes.words(20, 640)]
    return lambda: make_targets(quads, [False] * 20, (side, side))


def _post(pixels: int) -> Callable[[], Any]:
    height = round(math.sqrt(pixels * 736 / 1280))
    probability = scenes.probability_map(60, (height, round(pixels / height)))
    return _bound(DBPostprocessor(), probability)


def _bound(function: Callable[[Any], Any], argument: Any) -> Callable[[], Any]:
    return lambda: function(argument)


def _row(
    what: str, sizes: Sequence[int], work: Callable[[int], Callable[[], Any]], rounds: int
) -> Row:
    with threads(1):
        times = medians(*(work(size) for size in sizes), rounds=3 * rounds)
    return _exponent(what, sizes, times)


def _exponent(what: str, sizes: Sequence[int], times: Sequence[float]) -> Row:
    """The power of the size that the cost grows with, from the smallest to the largest."""
    power = math.log(times[-1] / times[0]) / math.log(sizes[-1] / sizes[0])
    note = ", ".join(f"{s:,}: {1e3 * t:.1f} ms" for s, t in zip(sizes, times, strict=True))
    return Row(f"growth, {what}", power, None, 1, LINEAR, note=note, unit="power")


def _write_labels(folder: Path, number: int) -> Path:
    """A data path of so many (empty) images, each with ten labels (of 16 kinds, linked)."""
    for name in ("img", "gt", "kinds"):
        (folder / name).mkdir(parents=True)
    for kind in range(16):
        x, y = 20 + 9 * kind, 30 + 7 * kind
        line = f"{x},{y},{x + 80},{y},{x + 80},{y + 30},{x},{y + 30},word{kind}\n"
        (folder / f"kinds/{kind}.txt").write_text(line * 10)
    for index in range(number):
        (folder / f"img/{index}.jpg").touch()
        os.link(folder / f"kinds/{index % 16}.txt", folder / f"gt/gt_{index}.txt")
    return folder
