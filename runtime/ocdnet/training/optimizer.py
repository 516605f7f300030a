"""The spec's optimiser, with the arguments that it takes."""

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
    """Adam, AdamW or SGD over all parameters; warns of arguments that only the others take.

    Args:
        config: the spec's `train.optimizer`.
        model: its parameters are optimised.
        fused: update all parameters in one kernel.
    """
    arguments = optimizer_arguments(config)
    for field in dataclasses.fields(config.args):
        value = getattr(config.args, field.name)
        if field.name not in arguments and value != field.default:
            key = f"train.optimizer.args.{field.name}"
            LOG.warning("%r is ignored: %s has no such argument", key, config.type)
    return _KINDS[config.type][0](model.parameters(), fused=fused or None, **arguments)
