"""A model's scores and latency on labelled images, for evaluate, prune and quantize."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ocdnet.backends.base import Predictor
from ocdnet.config.dataset import ValidateData
from ocdnet.data.annotations import Annotation, index_dataset
from ocdnet.data.preprocess import Preprocess
from ocdnet.detector import Detector
from ocdnet.metrics import Counts, ImageMatch, match_image
from ocdnet.page import Page
from ocdnet.postprocess import DBPostprocessor
from ocdnet.progress_bar import tracked
from ocdnet.runs.names import SCORES
from ocdnet.runs.records import Measured
from ocdnet.runs.status_line import Kpi
from ocdnet.spec_keys import VALIDATE_STEPS

_ROUNDS = 5


def scored(
    detector: Detector, annotations: Sequence[Annotation], label: str = "evaluating"
) -> Iterator[tuple[Annotation, Page, ImageMatch]]:
    """Each image's detections and how they match its labels; shows progress on stderr.

    Raises:
        DataError: an image that cannot be read.
    """

    def finish(annotation: Annotation, page: Page) -> tuple[Page, ImageMatch]:
        match = match_image(page.polygons, annotation.polygons, annotation.ignore)
        return page.let_go(), match

    rows = detector.map(annotations, lambda annotation: annotation.image, finish)
    for annotation, (page, match) in tracked(rows, label, len(annotations)):
        yield annotation, page, match


def side_by_side(
    predictors: Sequence[Predictor],
    megabytes: Sequence[float],
    preprocess: Preprocess,
    data: ValidateData,
    change: str,
) -> list[Measured]:
    """Size, latency and scores of a model before and after a change.

    Args:
        predictors: before and after.
        megabytes: of each.
        preprocess: of both.
        data: the validation data; without paths there are no scores.
        change: what was done to the model, for the progress line.

    Returns:
        Size and time, and with validation data the scores and the number of images.

    Raises:
        DataError: validation data that cannot be read.
    """
    times = seconds_side_by_side(predictors, preprocess)
    models = [
        Measured(megabytes=round(size, 3), milliseconds=round(1000 * time, 2))
        for size, time in zip(megabytes, times, strict=True)
    ]
    if not data.data_path:
        return models
    annotations = index_dataset(data.data_path, data.args.ignore_tags)
    for at, when in enumerate(("before", "after")):
        counts = counts_of(predictors[at], preprocess, annotations, f"evaluating {when} {change}")
        models[at] = replace(models[at], **scores(counts), images=len(annotations))
    return models


def scores(counted: Counts | ImageMatch | Measured) -> dict[str, Any]:
    """The three scores, by their names in records."""
    return {name: getattr(counted, name) for name in SCORES}


def kpi(model: Measured) -> Kpi | None:
    """A model's scores for a status line; None where it was not scored."""
    return None if model.hmean is None else Kpi(**scores(model))


def counts_of(
    predictor: Predictor, preprocess: Preprocess, annotations: Sequence[Annotation], label: str
) -> Counts:
    """Counts over all images, at TAO's thresholds."""
    counts = Counts()
    detector = Detector.of(predictor, preprocess, DBPostprocessor(), stretch_key=VALIDATE_STEPS)
    rows = scored(detector, annotations, label)
    for _, _, match in rows:
        counts += match.counts
    return counts


def seconds_side_by_side(predictors: Sequence[Predictor], preprocess: Preprocess) -> list[float]:
    """Median seconds of each predictor on one image, in turns, so that a disturbance hits all."""
    noise = np.random.default_rng(0).integers(0, 256, (736, 1280, 3), dtype=np.uint8)
    images = preprocess.to_tensor([preprocess.prepare(noise).image])
    times: list[list[float]] = [[] for _ in predictors]
    for _ in range(_ROUNDS + 1):  # the first warms up
        for predictor, taken in zip(predictors, times, strict=True):
            start = time.perf_counter()
            predictor(images)
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken[1:]) for taken in times]
