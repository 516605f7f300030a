"""Evaluate: a model's hmean, precision and recall on labelled images, and why they are so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ocdnet.actions.detection import detector_of
from ocdnet.actions.explaining import Examined, Explanation, examined
from ocdnet.actions.kept_maps import cache_of, keep
from ocdnet.actions.scoring import scores
from ocdnet.actions.session import session
from ocdnet.average_precision import AveragePrecision
from ocdnet.config.evaluate import EvaluateConfig
from ocdnet.config.spec import Loaded
from ocdnet.data.annotations import Annotation, index_dataset
from ocdnet.data.steps import eval_preprocess
from ocdnet.detector import Detector
from ocdnet.files import replacing
from ocdnet.map_cache import MapCache
from ocdnet.metrics import Counts, ImageMatch
from ocdnet.page import Page
from ocdnet.postprocess import DBPostprocessor
from ocdnet.progress_bar import tracked
from ocdnet.runs.files import EXPLAINED, RESULTS, SAMPLES
from ocdnet.runs.records import EvaluateResult, ImageScores, MatchCounts, Thresholds, write_results
from ocdnet.runs.samples import Showcase
from ocdnet.runs.status_line import Kpi
from ocdnet.spec_keys import VALIDATE_STEPS


def run(loaded: Loaded) -> EvaluateResult:
    """Score a checkpoint, an ONNX file or an engine.

    Args:
        loaded: a spec checked for `evaluate`.

    Returns:
        What results.json holds, without what is long in it.

    Raises:
        UserError: bad data or model, or a model made for other images than the spec's.
    """
    config, dataset = loaded.experiment.evaluate, loaded.experiment.dataset.validate_dataset
    with session(loaded, writes=(RESULTS, SAMPLES, EXPLAINED), renews=True) as here:
        preprocess = eval_preprocess(dataset.args)
        annotations = index_dataset(dataset.data_path, dataset.args.ignore_tags)
        polygon = config.metric.args.is_output_polygon
        postprocess = DBPostprocessor.from_spec(config.post_processing, polygon, "evaluate")
        model = loaded.experiment.model
        detector = detector_of(config, model, preprocess, postprocess, VALIDATE_STEPS)
        counts, showcase, images = Counts(), Showcase(), []
        cache = cache_of(detector, loaded)  # for `ocdnet tune`
        with _explanation(here.folder / EXPLAINED, config) as explanation:
            for annotation, page, seen in _examined(detector, annotations, cache):
                match = seen.of_detections
                counts += match.counts
                images.append(_image_row(annotation, match))
                showcase.add(annotation, page.polygons, match)
                explanation.add(annotation, seen)
        if cache is not None:
            cache.trim()
        here.status.write("RUNNING", "Test metrics generated.", Kpi(**scores(counts)))
        showcase.write(here.folder, counts.hmean)  # first: the result tells what it replaces
        result = EvaluateResult(
            warnings=here.warnings,
            action="evaluate",
            **scores(counts),
            counts=MatchCounts(**_counts(counts)),
            images=len(images),
            checkpoint=detector.model,
            backend=detector.backend,
            resize=preprocess.resize,
            thresholds=Thresholds(thresh=postprocess.thresh, box_thresh=postprocess.box_thresh),
            results=str(here.folder / RESULTS),
            explained=str(here.folder / EXPLAINED),
            per_image=tuple(images),
            **explanation.records(),
        )
        write_results(here.folder, result)
        return replace(result, per_image=None, curve=None, box_scores=None)


@contextmanager
def _explanation(path: Path, config: EvaluateConfig) -> Iterator[Explanation]:
    coco = AveragePrecision() if config.coco_ap else None
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as lines:
        yield Explanation(lines, coco)


def _examined(
    detector: Detector, annotations: Sequence[Annotation], cache: MapCache | None
) -> Iterator[tuple[Annotation, Page, Examined]]:
    """Each image's detections, and how they meet its labels; shows progress on stderr."""

    def finish(annotation: Annotation, page: Page) -> tuple[Page, Examined]:
        if cache is not None:
            keep(cache, annotation.image, page, detector.postprocess)
        return page.let_go(), examined(annotation, page, detector.postprocess)

    rows = detector.map(annotations, lambda annotation: annotation.image, finish)
    for annotation, (page, seen) in tracked(rows, "evaluating", len(annotations)):
        yield annotation, page, seen


def _counts(counts: Counts) -> dict[str, Any]:
    return {"matched": counts.matched, "gt_care": counts.gt_care, "det_care": counts.det_care}


def _image_row(annotation: Annotation, match: ImageMatch) -> ImageScores:
    return ImageScores(image=str(annotation.image), **scores(match), **_counts(match.counts))
