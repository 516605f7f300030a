"""Seconds of batches in a dry run, and the time limit of a run."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

LOG = logging.getLogger("ocdnet")


class StepTimes(Callback):
    """Times each batch, loading included; the first one of training and of validation warms up.

    Attributes:
        train: seconds of each training batch.
        validate: seconds of each validation batch.
    """

    def __init__(self) -> None:
        self.train: list[float] = []
        self.validate: list[float] = []
        self._last = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._last = time.monotonic()

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._last = time.monotonic()

    def on_train_batch_end(self, *_: Any) -> None:
        """Take the time since the batch before."""
        self._lap(self.train)

    def on_validation_batch_end(self, *_: Any) -> None:
        """Take the time since the batch before."""
        self._lap(self.validate)

    def _lap(self, times: list[float]) -> None:
        now = time.monotonic()
        times.append(now - self._last)
        self._last = now


class TimeLimit(Callback):
    """Ends training, as a success, where another epoch as long as the last would not fit.

    Attributes:
        minutes: that it may take.
    """

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self._epoch_started = time.monotonic()
        self._end = self._epoch_started + 60 * minutes

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop training if the next epoch would not end in time."""
        now = time.monotonic()
        next_end = 2 * now - self._epoch_started
        self._epoch_started = now
        # The clocks of several processes may differ by an epoch.
        over = trainer.strategy.reduce_boolean_decision(next_end > self._end, all=False)
        if over and trainer.current_epoch + 1 < (trainer.max_epochs or 0):
            LOG.info("Another epoch does not fit into train.max_minutes: training stops here.")
            trainer.should_stop = True
