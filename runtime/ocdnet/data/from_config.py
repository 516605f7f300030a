"""From the spec's `dataset` section to transforms and preprocessing."""

from __future__ import annotations

from typing import Any

from ocdnet.config.dataset import DatasetArgs
from ocdnet.data.preprocess import Preprocess
from ocdnet.data.transforms import TrainTransform, compile_eval, compile_train

_KEY = "dataset.{}.args.pre_processes"


def train_transform(args: DatasetArgs) -> TrainTransform:
    """The training list, compiled; raises SpecError naming the key."""
    return compile_train(_steps(args), _KEY.format("train_dataset"))


def eval_preprocess(args: DatasetArgs) -> Preprocess:
    """The network input that the validation list describes; raises SpecError naming the key."""
    return Preprocess(compile_eval(_steps(args), _KEY.format("validate_dataset")), args.img_mode)


def _steps(args: DatasetArgs) -> list[dict[str, Any]]:
    return [{"type": step.type, "args": step.args} for step in args.pre_processes]
