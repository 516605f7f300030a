"""Learning rate as a pure function of the epoch, which may be a fraction of its steps."""

from __future__ import annotations

import math

import pytorch_lightning as pl


def warmup_poly_factor(
    epoch: float, num_epochs: int, warmup_epochs: int, power: float = 0.9
) -> float:
    """Factor of the base learning rate at `epoch` (from 0; a step is a fraction) of `num_epochs`.

    Linear from 1/3 to 1 over `warmup_epochs`, then `(remaining / decaying) ** power`, as TAO's
    WarmupPolyLR. Being a function of the epoch alone, it needs no state: a resumed run follows its
    own schedule, even with another `num_epochs`. In (0, 1] while `epoch < num_epochs`; from there
    on 0, unless the warm-up is longer.
    """
    if epoch < warmup_epochs:
        progress = epoch / warmup_epochs
        return (1 - progress) / 3 + progress
    if epoch >= num_epochs:
        return 0.0
    return float(((num_epochs - epoch) / (num_epochs - warmup_epochs)) ** power)


def steps_per_epoch(trainer: pl.Trainer) -> int:
    """Optimiser steps of an epoch; the last one may accumulate fewer batches."""
    return max(1, math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches))
