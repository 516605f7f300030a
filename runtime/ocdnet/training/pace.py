"""How fast training goes, and how a user sees it: a progress bar, or log lines."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, RichProgressBar

from ocdnet.ranks import is_rank_zero
from ocdnet.training.schedule import steps_per_epoch

LOG = logging.getLogger("ocdnet")
QUIET_SECONDS = 30.0
"""Time between two log lines within an epoch."""
_STEPS_SEEN = 10
"""Batches after which the time to go is told; the first, which warms up, is left out."""


class Pace(Callback):
    """How fast training goes, and how much of the time it waits for data, in the epoch so far."""

    def __init__(self) -> None:
        self._seen, self._warm = 0, 0.0
        self._start(time.monotonic())

    def _start(self, now: float) -> None:
        self._started = self._batch_ended = now
        self._waited = 0.0
        self._images = 0

    @property
    def images_per_second(self) -> float:
        """Of all processes; 0.0 before the first batch."""
        return self._images / (self._batch_ended - self._started) if self._images else 0.0

    @property
    def waiting(self) -> float:
        """Share of the time, 0..1, between one batch's end and the next one's start."""
        return self._waited / (self._batch_ended - self._started) if self._images else 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock: when a run resumes within an epoch, no epoch start is called."""
        self._start(time.monotonic())

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._start(time.monotonic())

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop counting the wait for this batch."""
        self._waited += time.monotonic() - self._batch_ended

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the batch; from here on, time is spent waiting for the next one."""
        self._images += len(batch.paths) * trainer.world_size
        self._batch_ended = time.monotonic()
        self._tell_time_to_go(trainer, batch_idx)

    def _tell_time_to_go(self, trainer: pl.Trainer, batch_idx: int) -> None:
        """Log once, early in the run, how long its steps will take."""
        self._seen += 1
        if self._seen == 1:
            self._warm = self._batch_ended
        if self._seen != _STEPS_SEEN or not is_rank_zero():
            return
        batches = int(trainer.num_training_batches)
        left = ((trainer.max_epochs or 0) - trainer.current_epoch) * batches - batch_idx - 1
        seconds = left * (self._batch_ended - self._warm) / (_STEPS_SEEN - 1)
        if seconds > QUIET_SECONDS:
            LOG.info(
                "About %.0f min of training to go, by the first steps.", math.ceil(seconds / 60)
            )


class ProgressLines(Callback):
    """Logs a line every QUIET_SECONDS where there is no terminal for a progress bar.

    In epochs shorter than that, too: no other line tells the pace.

    Args:
        pace: a callback that the trainer calls before this one.
    """

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self._last_line = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Log step, loss and pace, unless the last line is recent."""
        now = time.monotonic()
        if now - self._last_line < QUIET_SECONDS:
            return
        self._last_line = now
        LOG.info(
            "epoch %d/%d  step %d/%d  train_loss_step: %.3f  %.2f images a second, "
            "%.1f %% of the time waiting for data",
            trainer.current_epoch + 1,
            trainer.max_epochs or 0,
            math.ceil((batch_idx + 1) / trainer.accumulate_grad_batches),
            steps_per_epoch(trainer),
            float(trainer.callback_metrics.get("train_loss_step", float("nan"))),
            self.pace.images_per_second,
            100 * self.pace.waiting,
        )


class ProgressBar(RichProgressBar):
    """Lightning's bar, with the pace on it.

    Args:
        pace: a callback that the trainer calls before this one.
    """

    def __init__(self, pace: Pace) -> None:
        super().__init__(console_kwargs={"stderr": True})
        self.pace = pace

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """The values shown beside the bar."""
        return {
            **super().get_metrics(trainer, pl_module),
            "images/s": f"{self.pace.images_per_second:.2f}",
            "waiting": f"{self.pace.waiting:.1%}",
        }


def progress_callbacks(terminal: bool) -> list[Callback]:
    """Callbacks that measure the pace and show it: a bar on a terminal's stderr, else lines."""
    pace = Pace()
    return [pace, ProgressBar(pace) if terminal else ProgressLines(pace)]
