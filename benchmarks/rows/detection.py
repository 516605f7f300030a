"""Post-processing and metric, against shapely and loops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import scenes
from baselines import metric as classic_metric
from baselines import postprocess as classic
from ocdnet.metrics import match_image
from ocdnet.postprocess import DBPostprocessor
from timing import Row, medians, threads

Case = tuple[list[Any], list[Any], list[bool]]


def postprocess(rounds: int) -> Iterator[Row]:
    """20, 200 and 1000 regions at 736x1280, as quads and as polygons."""
    for regions in (20, 200, 1000):
        probability = scenes.probability_map(regions)
        for kind, slow in (("quads", classic.quads), ("polygons", classic.polygons)):
            ours = DBPostprocessor(polygon=kind == "polygons")
            with threads(1):
                fast, old = medians(
                    lambda ours=ours, probability=probability: ours(probability),
                    lambda slow=slow, probability=probability: slow(probability),
                    rounds=5 * rounds,
                )
            yield Row(
                f"post-processing, {regions} {kind}", fast, old, 1, 1.5, "shapely and sorting"
            )


def metric(rounds: int) -> Iterator[Row]:
    """500 images of 12 words, and one of 200."""
    for what, cases in (("500 x 12 x 12", matches(500, 12)), ("1 x 200 x 200", matches(1, 200))):
        with threads(1):
            fast, slow = medians(
                lambda cases=cases: [match_image(*case) for case in cases],
                lambda cases=cases: [classic_metric.counts(*case) for case in cases],
                rounds=rounds,
            )
        yield Row(f"metric, {what}", fast, slow, 1, 20, "shapely, pair by pair")


def matches(images: int, words: int) -> list[Case]:
    """Predictions, ground truth and ignore flags: words found a few pixels off."""
    rng = np.random.default_rng(words)
    cases = []
    for _ in range(images):
        truth = scenes.quads(words, rng)
        found = [(quad + rng.uniform(-6, 6, 2)).astype(np.float32) for quad in truth]
        cases.append((found, truth, (rng.random(words) < 0.3).tolist()))
    return cases
