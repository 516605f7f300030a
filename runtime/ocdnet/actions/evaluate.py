"""Evaluate: a model's hmean, precision and recall on labelled images."""

from __future__ import annotations

from typing import Any

from ocdnet.actions.detection import open_model
from ocdnet.actions.scoring import scored, scores
from ocdnet.actions.session import session
from ocdnet.config.spec import Loaded
from ocdnet.data.annotations import Annotation, index_dataset
from ocdnet.data.steps import eval_preprocess
from ocdnet.files import write_json
from ocdnet.metrics import Counts, ImageMatch
from ocdnet.postprocess import DBPostprocessor
from ocdnet.runs.samples import Showcase


def run(loaded: Loaded) -> dict[str, Any]:
    """Score a checkpoint, an ONNX file or an engine.

    Args:
        loaded: a spec checked for `evaluate`.

    Returns:
        hmean, precision, recall and counts; results.json also holds every image's.

    Raises:
        UserError: bad data or model, or a model made for other images than the spec's.
    """
    config, dataset = loaded.experiment.evaluate, loaded.experiment.dataset.validate_dataset
    with session(loaded) as here:
        preprocess = eval_preprocess(dataset.args)
        annotations = index_dataset(dataset.data_path, dataset.args.ignore_tags)
        opened = open_model(config, loaded.experiment.model, preprocess)
        polygon = config.metric.args.is_output_polygon
        postprocess = DBPostprocessor.from_spec(config.post_processing, polygon)
        counts, showcase, images = Counts(), Showcase(), []
        rows = scored(
            opened.predictor,
            opened.preprocess,
            annotations,
            postprocess,
            batch_size=opened.batch_size,
        )
        for annotation, found, match in rows:
            counts += match.counts
            images.append(_image_row(annotation, match))
            showcase.add(annotation, found.polygons, match)
        told = scores(counts)
        here.status.write("RUNNING", "Test metrics generated.", told)
        summary = {
            "action": "evaluate",
            **told,
            "counts": _counts(counts),
            "images": len(images),
            **opened.told,
            "thresholds": {"thresh": postprocess.thresh, "box_thresh": postprocess.box_thresh},
            "results": str(here.folder / "results.json"),
        }
        showcase.write(here.folder, counts.hmean)
        write_json(here.folder / "results.json", summary | {"per_image": images})
        return summary


def _counts(counts: Counts) -> dict[str, int]:
    return {"matched": counts.matched, "gt_care": counts.gt_care, "det_care": counts.det_care}


def _image_row(annotation: Annotation, match: ImageMatch) -> dict[str, Any]:
    return {
        "image": str(annotation.image),
        "hmean": match.hmean,
        "precision": match.precision,
        "recall": match.recall,
        **_counts(match.counts),
    }
