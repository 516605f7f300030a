"""An exponential moving average of the weights: what is validated, and kept as the model."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.optim.swa_utils import get_ema_multi_avg_fn

LOG = logging.getLogger("ocdnet")
EMA_KEY = "ocdnet_ema"
"""Key of a checkpoint whose `state_dict` is an average: `{"updates": int, "trained": {...}}`."""


def ema_decay(decay: float, updates: int) -> float:
    """Decay of the update number `updates` (from 1), as TAO's: small at first.

    `decay * (1 - exp(-updates / 2000))`, in [0, decay).
    """
    return decay * (1 - math.exp(-updates / 2000))


class TrainedWeights(Callback):
    """Resumes from the trained weights of a checkpoint whose `state_dict` is an average.

    Needed with and without `train.model_ema`: it may have been switched off since.
    """

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Replace the average, which Lightning has loaded by now."""
        saved = checkpoint.get(EMA_KEY)
        if saved is not None:
            # Unlike load_state_dict it also fills parameters that FSDP has split.
            whole = StateDictOptions(full_state_dict=True)
            set_model_state_dict(pl_module, saved["trained"], options=whole)


class WeightAverage(TrainedWeights):
    """Averages every entry of the state dict after each optimiser step; integers are copied.

    Validation sees the average. Each checkpoint holds it as `state_dict`, so that whatever reads
    a checkpoint gets the network that was validated; the trained weights, from which a run goes
    on, stand beside it under EMA_KEY.

    Not Lightning's WeightAveraging (2.6, tried): it copies the weights of the first step instead
    of averaging them, averages batch norm's counters, too, resumes from the average once it is
    switched off, runs `configure_model` twice, and swaps after the module's
    `on_validation_start`, so that processes would validate different batch statistics. Every hook
    but one would have to be overridden.

    Args:
        decay: of a long run; see `ema_decay`.
    """

    def __init__(self, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self._average: dict[str, Tensor] = {}
        self._step = 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Start from the weights as they are."""
        self._average = _copied(pl_module.state_dict())

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Go on with the checkpoint's average; without one, start from its weights."""
        super().on_load_checkpoint(trainer, pl_module, checkpoint)
        saved = checkpoint.get(EMA_KEY)
        if saved is None:
            LOG.info("The checkpoint holds no average of weights: train.model_ema starts here.")
            self._average = _copied(pl_module.state_dict())
        else:
            self._average, self.updates = _copied(checkpoint["state_dict"]), saved["updates"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Follow the weights to their device."""
        self._average = {key: t.to(pl_module.device) for key, t in self._average.items()}
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Update, if the batch ended in an optimiser step."""
        if trainer.global_step > self._step:
            self._step = trainer.global_step
            self.update(pl_module.state_dict())

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor]) -> None:
        """Take in the weights of one more step, keyed as those at the start."""
        self.updates += 1
        pairs = [(self._average[key], weights[key]) for key in self._average]
        floats = [(old, new) for old, new in pairs if old.is_floating_point()]
        average = get_ema_multi_avg_fn(ema_decay(self.decay, self.updates))
        average([old for old, _ in floats], [new for _, new in floats], self.updates)
        for old, new in pairs:
            if not old.is_floating_point():  # batch norm's counter
                old.copy_(new)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate the average."""
        self._swap(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Train on."""
        self._swap(pl_module)

    @torch.no_grad()
    def _swap(self, pl_module: pl.LightningModule) -> None:
        # In place: the optimiser and DDP keep references to the module's own tensors.
        for key, own in pl_module.state_dict().items():
            trained = own.clone()
            own.copy_(self._average[key])
            self._average[key].copy_(trained)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Make the average the checkpoint's network."""
        checkpoint[EMA_KEY] = {"updates": self.updates, "trained": checkpoint["state_dict"]}
        checkpoint["state_dict"] = dict(self._average)


def _copied(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensor.detach().clone() for key, tensor in weights.items()}
