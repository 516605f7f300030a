"""Whole actions: what they spend outside the network, and whether it hides behind it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import scenes
from memory import pss
from ocdnet.actions import detection, evaluate, inference, train
from ocdnet.backends.base import Batch, Predictor
from ocdnet.backends.onnx import OnnxPredictor
from ocdnet.config import spec
from ocdnet.training import pace
from ocdnet.training.pace import Pace
from rows.network import HEIGHT, WIDTH, exported
from timing import Row, thread_counts

WORDS = 20
"""Regions in each map: a new network finds none, and nothing would be left to do after it."""
MANY = 10_000
GROWTH = 1.05


class Timed:
    """A predictor that keeps the time spent in it, and returns maps with words in them."""

    def __init__(self, network: Callable[[Batch], Batch]) -> None:
        self.network, self.seconds = network, 0.0
        self.backend, self.img_mode, self.size = "timed", "BGR", (WIDTH, HEIGHT)
        self.normalisation, self.batch, self.path = None, None, Path("timed.onnx")
        self.device_type, self.advised = "cpu", None
        self.map = scenes.probability_map(WORDS, (HEIGHT, WIDTH))

    def __call__(self, images: Batch) -> Batch:
        """float32[B, 3, H, W] -> probability float32[B, H, W]."""
        start = time.perf_counter()
        maps = self.network(images)
        self.seconds += time.perf_counter() - start
        return np.broadcast_to(self.map, maps.shape)


def through(action: Any, predictor: Predictor, overrides: list[str]) -> float:
    """Seconds of an action with that predictor."""
    name = action.__name__.rpartition(".")[2]
    loaded = spec.load(name, None, [*overrides, f"{name}.checkpoint=network.onnx"])
    start = time.perf_counter()
    with mock.patch.object(detection, "open_predictor", lambda *_, **__: predictor):
        action.run(loaded)
    return time.perf_counter() - start


def evaluation(rounds: int) -> Iterator[Row]:
    """Share of an evaluation outside the network: reading, post-processing, metric, results."""
    images = 10 * rounds
    with tempfile.TemporaryDirectory() as folder:
        data = scenes.folder_of(images, Path(folder) / "data")
        timed = Timed(OnnxPredictor(exported("resnet18", Path(folder))))
        total = through(
            evaluate,
            timed,
            [f"results_dir={folder}", f"dataset.validate_dataset.data_path=[{data}]"],
        )
    outside = 1 - timed.seconds / total
    note = f"{images} images, {total / images:.3f} s each"
    yield Row("evaluate: share outside the network", outside, None, thread_counts()[-1], 0.10,
              note=note, unit="share")  # fmt: skip


def loader(rounds: int) -> Iterator[Row]:
    """Share of a training's time spent waiting for data: 4 images of 640x640 a step."""
    made: list[Pace] = []

    class Kept(Pace):
        """Within reach after the run."""

        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    steps = 4 * rounds
    with tempfile.TemporaryDirectory() as name, mock.patch.object(pace, "Pace", Kept):
        data = scenes.folder_of(4 * steps, Path(name) / "data")
        settings = [
            f"results_dir={name}",
            f"dataset.train_dataset.data_path=[{data}]",
            "dataset.train_dataset.loader.batch_size=4",
            "train.num_epochs=1",
            "train.lr_scheduler.args.warmup_epoch=0",
            "train.precision=bf16",
        ]
        train.run(spec.load("train", None, settings))
    (measured,) = made
    note = f"{steps} steps in bf16, {measured.images_per_second:.2f} images a second"
    what = "training: share waiting for data"
    yield Row(what, measured.waiting, None, thread_counts()[-1], 0.02, note=note, unit="share")


def folder(rounds: int) -> Iterator[Row]:
    """Inference on a folder against the network alone, on the same images."""
    images = 10 * rounds
    with tempfile.TemporaryDirectory() as name:
        data = scenes.folder_of(images, Path(name) / "data")
        network = OnnxPredictor(exported("resnet18", Path(name)))
        image = np.random.default_rng(0).standard_normal((1, 3, HEIGHT, WIDTH), np.float32)
        network(image)
        alone = time.perf_counter()
        for _ in range(images):
            network(image)
        alone = time.perf_counter() - alone
        where = [f"results_dir={name}", f"inference.input_folder={data}/img"]
        total = through(inference, Timed(network), where)
    what = "inference on a folder, an image"
    against = "the network alone"
    yield Row(what, total / images, alone / images, thread_counts()[-1], 0.9, against)


def memory(rounds: int) -> Iterator[Row]:
    """Memory of an inference over many images: the second half against the first."""
    readings: list[float] = []

    def network(images: Batch) -> Batch:
        readings.append(pss("self"))
        return np.zeros((len(images), HEIGHT, WIDTH), np.float32)

    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "img"
        data.mkdir()
        scenes.image_with_text(data / "0.jpg")
        for number in range(1, MANY):
            (data / f"{number}.jpg").symlink_to("0.jpg")
        where = [f"results_dir={name}", f"inference.input_folder={data}"]
        through(inference, Timed(network), where)
    half = MANY // 2
    growth = max(readings[half:]) / max(readings[:half])
    note = f"{MANY} images, {max(readings):.0f} MB at most"
    yield Row("inference: memory, second half / first", growth, None, thread_counts()[-1], GROWTH,
              note=note, unit="ratio")  # fmt: skip
