"""Label maps and whole training samples, against the classic formulations."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import scenes
from baselines import label_maps as classic_maps
from baselines import sample as classic_sample
from ocdnet.data.annotations import index_dataset
from ocdnet.data.dataset import TrainDataset
from ocdnet.data.steps import compile_train
from ocdnet.data.targets import make_targets
from timing import Row, medians, threads

SIDE = 640
IMAGES = 24
TRAIN_YAML = [
    {
        "type": "IaaAugment",
        "args": [
            {"type": "Fliplr", "args": {"p": 0.5}},
            {"type": "Affine", "args": {"rotate": [-10, 10], "p": 1}},
            {"type": "Resize", "args": {"size": [0.5, 3], "p": 1}},
        ],
    },
    {"type": "EastRandomCropData", "args": {"size": [SIDE, SIDE], "max_tries": 50}},
    {"type": "MakeBorderMap", "args": {"shrink_ratio": 0.4, "thresh_min": 0.3, "thresh_max": 0.7}},
    {"type": "MakeShrinkMap", "args": {"shrink_ratio": 0.4, "min_text_size": 8}},
]
"""The augmentation of TAO's train.yaml."""


def label_maps(rounds: int) -> Iterator[Row]:
    """make_targets for 10, 20 and 50 words at 640x640."""
    for number in (10, 20, 50):
        words, ignore = scenes.words(number), [False] * number
        with threads(1):
            ours, classic = medians(
                lambda words=words, ignore=ignore: make_targets(words, ignore, (SIDE, SIDE)),
                lambda words=words, ignore=ignore: classic_maps.label_maps(
                    words, ignore, (SIDE, SIDE)
                ),
                rounds=5 * rounds,
            )
        yield Row(f"label maps, {number} words", ours, classic, 1, 4, "every edge over the box")


def sample(rounds: int) -> Iterator[Row]:
    """A sample from a 1280x720 JPEG: decode, flip, rotate, scale, crop, maps."""
    with tempfile.TemporaryDirectory() as folder, threads(1):
        annotations = index_dataset([scenes.folder_of(IMAGES, Path(folder) / "data")], ["###"])
        dataset = TrainDataset(annotations, compile_train(TRAIN_YAML), "BGR", seed=1)

        def ours() -> None:
            for index in range(IMAGES):
                dataset[(0, index)]

        def classic() -> None:
            for index, annotation in enumerate(annotations):
                rng = np.random.default_rng([1, 0, index])
                path, ignore = str(annotation.image), annotation.ignore.tolist()
                classic_sample.sample(path, annotation.polygons, ignore, rng)

        fast, slow = (time / IMAGES for time in medians(ours, classic, rounds=rounds))
    yield Row("training sample, 1280x720 JPEG", fast, slow, 1, 3, "whole image, then crop")
    yield Row("training sample: seconds", fast, None, 1, 0.010)
