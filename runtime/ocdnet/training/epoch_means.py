"""Means of an epoch that a run resumes in its middle: over the whole of it, as if never broken."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytorch_lightning as pl
import torch

KEY = "ocdnet_epoch_means"
"""In a checkpoint: by name the sum of what was logged in the epoch so far, and its weight."""


def so_far(trainer: pl.Trainer, device: torch.device) -> dict[str, list[float]]:
    """Sums and weights of the epoch's means over all processes, all of which must call this."""
    means = dict(_means(trainer))
    if not means:
        return {}
    rows = [[float(mean.value), float(mean.cumulated_batch_size)] for mean in means.values()]
    own = torch.tensor(rows, dtype=torch.float64, device=device)
    pooled = trainer.strategy.reduce(own, reduce_op="sum")
    return dict(zip(means, torch.as_tensor(pooled).tolist(), strict=True))


def go_on(trainer: pl.Trainer, before: Mapping[str, list[float]]) -> None:
    """Add what the epoch had come to, after the first step of a run that resumes in it."""
    for name, mean in _means(trainer):
        if name in before:
            total, weight = (number / trainer.world_size for number in before[name])
            mean.value = mean.value + torch.tensor(total).to(mean.value)
            mean.cumulated_batch_size = mean.cumulated_batch_size + weight


def read(checkpoint: Mapping[str, Any]) -> dict[str, list[float]]:
    """What `so_far` has put into a checkpoint; empty where nothing of it can be used."""
    given = checkpoint.get(KEY)
    rows = given if isinstance(given, Mapping) else {}
    return {str(name): list(row) for name, row in rows.items() if _is_mean(row)}


def _means(trainer: pl.Trainer) -> Iterator[tuple[str, Any]]:
    for metric in trainer.fit_loop.epoch_loop._results.values():
        if metric.meta.on_epoch and metric.meta.is_mean_reduction and metric.is_tensor:
            yield metric.meta.name, metric


def _is_mean(row: Any) -> bool:
    return (
        isinstance(row, list)
        and len(row) == 2
        and all(isinstance(number, float) and math.isfinite(number) for number in row)
        and row[1] > 0
    )
