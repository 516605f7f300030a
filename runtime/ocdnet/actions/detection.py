"""What evaluate and inference share: the model that a section names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ocdnet.backends.base import Predictor
from ocdnet.backends.open import check_fit, open_engine, open_predictor
from ocdnet.config.evaluate import EvaluateConfig
from ocdnet.config.inference import InferenceConfig
from ocdnet.config.model import ModelConfig
from ocdnet.data.preprocess import Preprocess


@dataclass(frozen=True)
class Opened:
    """A model that is ready for images.

    Attributes:
        path: its file.
        predictor: the network.
        preprocess: how images become its input.
        batch_size: images a batch.
    """

    path: Path
    predictor: Predictor
    preprocess: Preprocess
    batch_size: int


def open_model(
    section: EvaluateConfig | InferenceConfig, model: ModelConfig, preprocess: Preprocess
) -> Opened:
    """Open the checkpoint or engine of a section; a batch_size of -1 is the model's preferred one.

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
    fitted = check_fit(predictor, preprocess, path, batch_size)
    return Opened(path, predictor, fitted, batch_size)
