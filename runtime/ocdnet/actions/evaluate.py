"""Evaluate: a model's hmean, precision and recall on labelled images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ocdnet.actions.detection import detector_of
from ocdnet.actions.scoring import scored, scores
from ocdnet.actions.session import session
from ocdnet.config.spec import Loaded
from ocdnet.data.annotations import Annotation, index_dataset
from ocdnet.data.steps import eval_preprocess
from ocdnet.metrics import Counts, ImageMatch
from ocdnet.postprocess import DBPostprocessor
from ocdnet.runs.files import RESULTS, SAMPLES
from ocdnet.runs.records import EvaluateResult, ImageScores, MatchCounts, Thresholds, write_results
from ocdnet.runs.samples import Showcase
from ocdnet.runs.status_line import Kpi
from ocdnet.spec_keys import VALIDATE_STEPS


def run(loaded: Loaded) -> EvaluateResult:
    """Score a checkpoint, an ONNX file or an engine.

    Args:
        loaded: a spec checked for `evaluate`.

    Returns:
        What results.json holds, without the images' scores.

    Raises:
        UserError: bad data or model, or a model made for other images than the spec's.
    """
    config, dataset = loaded.experiment.evaluate, loaded.experiment.dataset.validate_dataset
    with session(loaded, writes=(RESULTS, SAMPLES), renews=True) as here:
        preprocess = eval_preprocess(dataset.args)
        annotations = index_dataset(dataset.data_path, dataset.args.ignore_tags)
        polygon = config.metric.args.is_output_polygon
        postprocess = DBPostprocessor.from_spec(config.post_processing, polygon, "evaluate")
        model = loaded.experiment.model
        detector = detector_of(config, model, preprocess, postprocess, VALIDATE_STEPS)
        counts, showcase, images = Counts(), Showcase(), []
        for annotation, page, match in scored(detector, annotations):
            counts += match.counts
            images.append(_image_row(annotation, match))
            showcase.add(annotation, page.polygons, match)
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
            per_image=tuple(images),
        )
        write_results(here.folder, result)
        return replace(result, per_image=None)


def _counts(counts: Counts) -> dict[str, Any]:
    return {"matched": counts.matched, "gt_care": counts.gt_care, "det_care": counts.det_care}


def _image_row(annotation: Annotation, match: ImageMatch) -> ImageScores:
    return ImageScores(image=str(annotation.image), **scores(match), **_counts(match.counts))
