"""A model on labelled images: what evaluate, prune and quantize count."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ocdnet.backends.base import Predictor
from ocdnet.backends.pipeline import Prediction, predict
from ocdnet.data.annotations import Annotation
from ocdnet.data.preprocess import Preprocess
from ocdnet.metrics import Counts, ImageMatch, match_image
from ocdnet.postprocess import DBPostprocessor, Detections
from ocdnet.progress import tracked

_ROUNDS = 5


def scored(
    predictor: Predictor,
    preprocess: Preprocess,
    annotations: Sequence[Annotation],
    postprocess: DBPostprocessor,
    *,
    batch_size: int = 1,
    label: str = "evaluating",
) -> Iterator[tuple[Annotation, Detections, ImageMatch]]:
    """What is found on each image, and how it meets the labels; progress is told on stderr.

    Raises:
        DataError: an image that cannot be read.
    """

    def finish(annotation: Annotation, prediction: Prediction) -> tuple[Detections, ImageMatch]:
        prepared = prediction.prepared
        found = postprocess(prediction.probability, prepared.scale, prepared.image_size)
        match = match_image(found.polygons, annotation.polygons, annotation.ignore)
        return found, match

    rows = predict(predictor, preprocess, annotations, _image_of, finish, batch_size=batch_size)
    for annotation, (found, match) in tracked(rows, label, len(annotations)):
        yield annotation, found, match


def counts_of(
    predictor: Predictor, preprocess: Preprocess, annotations: Sequence[Annotation], label: str
) -> Counts:
    """Counts over all images, at TAO's thresholds."""
    counts = Counts()
    rows = scored(predictor, preprocess, annotations, DBPostprocessor(), label=label)
    for _, _, match in rows:
        counts += match.counts
    return counts


def seconds_side_by_side(predictors: Sequence[Predictor], preprocess: Preprocess) -> list[float]:
    """Median seconds of each predictor on one image, in turns: what disturbs one disturbs all."""
    noise = np.random.default_rng(0).integers(0, 256, (736, 1280, 3), dtype=np.uint8)
    images = preprocess.to_tensor([preprocess.prepare(noise).image])
    times: list[list[float]] = [[] for _ in predictors]
    for _ in range(_ROUNDS + 1):  # the first warms up
        for predictor, taken in zip(predictors, times, strict=True):
            start = time.perf_counter()
            predictor(images)
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken[1:]) for taken in times]


def _image_of(annotation: Annotation) -> Path:
    return annotation.image
