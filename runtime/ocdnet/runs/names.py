"""Names that files, logs and flags share: what is measured, and what a search is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, get_args

Metric = Literal["train_loss", "hmean"]
"""What may judge a checkpoint or a trial."""
Direction = Literal["minimize", "maximize"]
LogAlias = Literal["train_loss_epoch", "hmean"]

METRICS: tuple[Metric, ...] = get_args(Metric)
DEFAULT_METRIC: Metric = "train_loss"
"""What judges the trials of a search for which none is named: it needs no validation data."""
MONITOR: Literal["hmean"] = "hmean"
"""What validates the model that was chosen."""
DIRECTIONS: Mapping[str, Direction] = {"train_loss": "minimize", "hmean": "maximize"}
LOG_ALIASES: Mapping[str, LogAlias] = {"train_loss": "train_loss_epoch", "hmean": "hmean"}
"""By metric, its name in the log lines of a training."""
METRIC_NAMES: Mapping[str, Metric] = {
    name: metric for metric in METRICS for name in (metric, LOG_ALIASES[metric])
}
"""Every name that a metric goes by, with its own."""

SCORES = ("hmean", "precision", "recall")
LOSS_TERMS = ("shrink_loss", "threshold_loss", "binary_loss")
KPIS = ("train_loss", *SCORES)
"""What tells how good a model is, of all that is measured."""


Sampler = Literal["tpe", "random"]
Pruner = Literal["asha", "hyperband", "none"]
SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)
PRUNERS: tuple[Pruner, ...] = get_args(Pruner)
"""Their first ones are what a search has where none is named."""


def better(metric: str, value: float, other: float) -> bool:
    """Whether a value of a metric is better than another one."""
    return value > other if DIRECTIONS[metric] == "maximize" else value < other


def rank(metric: str, value: float, train_loss: float | None) -> tuple[float, float]:
    """What sorts epochs or trials by how good they are, the best last.

    Args:
        metric: what judges them.
        value: of the metric.
        train_loss: decides between equal values, of which the lowest loss is the best; None: not
            known, which counts as the highest.
    """
    known = train_loss is not None and math.isfinite(train_loss)
    better_when_higher = value if DIRECTIONS[metric] == "maximize" else -value
    return better_when_higher, -train_loss if known and train_loss is not None else -math.inf
