"""What evaluate, tune and inference share: the detector that a section describes."""

from __future__ import annotations

from pathlib import Path

from ocdnet.backends.open import open_engine, open_predictor
from ocdnet.config.evaluate import EvaluateConfig
from ocdnet.config.inference import InferenceConfig
from ocdnet.config.model import ModelConfig
from ocdnet.config.spec import Loaded
from ocdnet.data.annotations import Annotations, index_dataset
from ocdnet.data.preprocess import Preprocess
from ocdnet.data.steps import eval_preprocess
from ocdnet.detector import Detector
from ocdnet.postprocess import DBPostprocessor
from ocdnet.spec_keys import VALIDATE_STEPS


def on_labelled(loaded: Loaded) -> tuple[Detector, Annotations]:
    """The detector of `evaluate`, and the pictures with labels that it names.

    Raises:
        UserError: bad data or model, or a model made for other images than the spec's.
    """
    dataset = loaded.experiment.dataset.validate_dataset
    eval_preprocess(dataset.args)  # refused before the labels are read
    annotations = index_dataset(dataset.data_path, dataset.args.ignore_tags)
    return scored_detector(loaded), annotations


def scored_detector(loaded: Loaded) -> Detector:
    """The detector of `evaluate`.

    Raises:
        UserError: it cannot be used, or was made for other images than the spec's.
    """
    config, dataset = loaded.experiment.evaluate, loaded.experiment.dataset.validate_dataset
    preprocess = eval_preprocess(dataset.args)
    polygon = config.metric.args.is_output_polygon
    postprocess = DBPostprocessor.from_spec(config.post_processing, polygon, "evaluate")
    return detector_of(config, loaded.experiment.model, preprocess, postprocess, VALIDATE_STEPS)


def detector_of(
    section: EvaluateConfig | InferenceConfig,
    model: ModelConfig,
    preprocess: Preprocess,
    postprocess: DBPostprocessor,
    stretch_key: str,
) -> Detector:
    """Open the checkpoint or engine of a section; a batch_size of -1 is the model's preferred one.

    Args:
        section: names the model.
        model: the network of a checkpoint.
        preprocess: as the spec says.
        postprocess: the same.
        stretch_key: as of `Detector.of`.

    Raises:
        UserError: it cannot be used, or was made for other images or smaller batches.
    """
    path = Path(section.trt_engine or section.checkpoint)
    if section.trt_engine:
        predictor = open_engine(path, section.gpu_ids)
    else:
        predictor = open_predictor(path, model, section.num_gpus, section.gpu_ids)
    best = predictor.batch.opt if predictor.batch else 1
    batch_size = section.batch_size if section.batch_size > 0 else best
    return Detector.of(
        predictor, preprocess, postprocess, batch_size=batch_size, stretch_key=stretch_key
    )
