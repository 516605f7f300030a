"""The spec's optimiser, with the arguments that it knows, and its learning rate by the epoch."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import torch

from ocdnet.config.train import Optimizer

LOG = logging.getLogger("ocdnet")
_ADAM = ("lr", "weight_decay", "eps", "amsgrad")
_KINDS = {
    "Adam": (torch.optim.Adam, _ADAM),
    "AdamW": (torch.optim.AdamW, _ADAM),
    "SGD": (torch.optim.SGD, ("lr", "weight_decay", "momentum")),
}


def optimizer_arguments(config: Optimizer) -> dict[str, Any]:
    """The arguments of the spec that its optimiser takes."""
    return {name: getattr(config.args, name) for name in _KINDS[config.type][1]}


def build_optimizer(
    config: Optimizer, model: torch.nn.Module, *, fused: bool = False
) -> torch.optim.Optimizer:
    """Adam, AdamW or SGD over all parameters; an argument of another one is told and ignored.

    Args:
        config: the spec's.
        model: whose parameters.
        fused: step all of them in one kernel.
    """
    given = optimizer_arguments(config)
    for field in dataclasses.fields(config.args):
        value = getattr(config.args, field.name)
        if field.name not in given and value != field.default:
            key = f"train.optimizer.args.{field.name}"
            LOG.warning("%r is ignored: %s has no such argument", key, config.type)
    return _KINDS[config.type][0](model.parameters(), fused=fused or None, **given)


def warmup_poly_factor(
    epoch: float, num_epochs: int, warmup_epochs: int, power: float = 0.9
) -> float:
    """Factor of the base learning rate at `epoch` (from 0; a step is a fraction) of `num_epochs`.

    Linear from 1/3 to 1 over `warmup_epochs`, then `(remaining / decaying) ** power`, as TAO's
    WarmupPolyLR. Being a function of the epoch alone it needs no state: a resumed run, also one
    with another `num_epochs`, takes the rate of its own schedule. In (0, 1] while
    `epoch < num_epochs`; from there on 0, unless the warm-up goes on.
    """
    if epoch < warmup_epochs:
        progress = epoch / warmup_epochs
        return (1 - progress) / 3 + progress
    if epoch >= num_epochs:
        return 0.0
    return float(((num_epochs - epoch) / (num_epochs - warmup_epochs)) ** power)
