"""The whole experiment: root keys and the sections of every action."""

from dataclasses import field
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from ocdnet.config import dataset, evaluate, gen_trt_engine, inference, model, quantize, train
from ocdnet.config.base import STRICT, extra, popular
from ocdnet.config.dataset import DatasetConfig
from ocdnet.config.evaluate import EvaluateConfig
from ocdnet.config.export import ExportConfig
from ocdnet.config.gen_trt_engine import GenTrtEngineConfig
from ocdnet.config.inference import InferenceConfig
from ocdnet.config.model import ModelConfig
from ocdnet.config.prune import PruneConfig
from ocdnet.config.quantize import QuantizeConfig
from ocdnet.config.rules import Rule
from ocdnet.config.train import TrainConfig
from ocdnet.config.wandb import WandbConfig
from ocdnet.spec_keys import MEGAPIXELS


@dataclass(config=STRICT, kw_only=True)
class Experiment:
    """One experiment file; an action reads the root keys and its own sections.

    Build it with `ocdnet.config.spec.resolve`, which fills in defaults by place: a bare
    `Experiment()` holds `???` for values that the user must give.
    """

    results_dir: Annotated[str, popular] = ""
    """Folder of all results; each action writes to a folder of its name in it."""

    encryption_key: str = ""
    """TAO's key for encrypted models; nothing is encrypted here."""

    model_name: str = ""
    """Name of the model, for records only."""

    max_megapixels: Annotated[int, Field(ge=1, le=1073), extra] = MEGAPIXELS
    """Refuse larger images, before they are decoded: one takes three bytes a pixel and more."""

    dataset: DatasetConfig = field(default_factory=DatasetConfig)

    model: ModelConfig = field(default_factory=ModelConfig)

    train: TrainConfig = field(default_factory=TrainConfig)

    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)

    inference: InferenceConfig = field(default_factory=InferenceConfig)

    export: ExportConfig = field(default_factory=ExportConfig)

    prune: PruneConfig = field(default_factory=PruneConfig)

    quantize: QuantizeConfig = field(default_factory=QuantizeConfig)

    gen_trt_engine: GenTrtEngineConfig = field(default_factory=GenTrtEngineConfig)

    wandb: WandbConfig = field(default_factory=WandbConfig)


RULES: dict[str, tuple[Rule, ...]] = {
    "dataset": dataset.RULES,
    "model": model.RULES,
    "train": train.RULES,
    "evaluate": evaluate.RULES,
    "inference": inference.RULES,
    "quantize": quantize.RULES,
    "gen_trt_engine": gen_trt_engine.RULES,
}
"""The rules of each section that has some."""
