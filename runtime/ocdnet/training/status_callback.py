"""What a run tells while it trains: status.json, log lines, a progress bar."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, RichProgressBar

from ocdnet.runs.metric_names import LOG_ALIASES, LOSS_TERMS, SCORES
from ocdnet.runs.records import Kpi
from ocdnet.runs.status import TRAINED, VALIDATED, StatusWriter

LOG = logging.getLogger("ocdnet")
QUIET_SECONDS = 30.0


def steps_per_epoch(trainer: pl.Trainer) -> int:
    """Optimiser steps of an epoch; the last one may have fewer batches to its name."""
    return max(1, math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches))


class StatusCallback(Callback):
    """Writes TAO's status lines and one log line an epoch."""

    def __init__(self, status: StatusWriter) -> None:
        self.status = status
        self._epoch_started = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say that the loop starts; a run resumed within an epoch starts its clock here."""
        self._epoch_started = time.monotonic()
        self.status.write("STARTED", "Starting Training Loop.")

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the epoch's clock."""
        self._epoch_started = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report hmean, precision and recall."""
        self.status.write("RUNNING", VALIDATED, Kpi(**_scores(trainer.callback_metrics)))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the epoch: loss, pace, time left."""
        seconds = time.monotonic() - self._epoch_started
        epoch, last = trainer.current_epoch, (trainer.max_epochs or 1) - 1
        steps = steps_per_epoch(trainer)
        loss = float(trainer.callback_metrics["train_loss"])
        self.status.write(
            "RUNNING",
            "Training loop in progress",
            epoch=epoch,
            step=trainer.global_step,
            max_epoch=last,
            max_step=(last + 1) * steps,
            time_per_epoch=str(timedelta(seconds=seconds)),
            time_per_step=str(timedelta(seconds=seconds / steps)),
            eta=str(timedelta(seconds=seconds * (last - epoch))),
        )
        kpi = Kpi(
            train_loss=loss,
            **_measured(trainer.callback_metrics, LOSS_TERMS),
            lr=trainer.optimizers[0].param_groups[0]["lr"],  # as logged it is rounded
        )
        self.status.write("RUNNING", TRAINED, kpi)
        scores = _scores(trainer.callback_metrics)
        reached = "  ".join(f"{name}: {value:.4f}" for name, value in scores.items())
        LOG.info("epoch %d/%d  %s  (%.0f s)", epoch + 1, last + 1, reached, seconds)
        LOG.info("%s: %.6f", LOG_ALIASES["train_loss"], loss)


class Pace(Callback):
    """How fast training goes, and how much of the time it waits for data, in the epoch so far."""

    def __init__(self) -> None:
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
        """Start the clock: of a run resumed within an epoch Lightning starts no epoch."""
        self._start(time.monotonic())

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._start(time.monotonic())

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The batch is here: the waiting ends."""
        self._waited += time.monotonic() - self._batch_ended

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the batch; the waiting for the next one begins."""
        self._images += len(batch["paths"]) * trainer.world_size
        self._batch_ended = time.monotonic()


class ProgressLines(Callback):
    """A line now and then where no terminal shows a progress bar.

    Args:
        pace: a callback that comes before this one.
    """

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self._told = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A line was told a moment ago: the last epoch's."""
        self._told = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Tell step, loss and pace, unless it was told a moment ago."""
        now = time.monotonic()
        if now - self._told < QUIET_SECONDS:
            return
        self._told = now
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
        pace: a callback that comes before this one.
    """

    def __init__(self, pace: Pace) -> None:
        super().__init__(console_kwargs={"stderr": True})
        self.pace = pace

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """What stands beside the bar."""
        return {
            **super().get_metrics(trainer, pl_module),
            "images/s": f"{self.pace.images_per_second:.2f}",
            "waiting": f"{self.pace.waiting:.1%}",
        }


class StepTimes(Callback):
    """How long a batch takes, loading included; the first of each kind warms up.

    Attributes:
        train: seconds of each training batch.
        validate: of each validation batch.
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
    """Ends training, as a success, where another epoch as long as the last would not fit."""

    def __init__(self, minutes: float) -> None:
        self._epoch_started = time.monotonic()
        self._end = self._epoch_started + 60 * minutes

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop where the time is over."""
        now = time.monotonic()
        next_end = 2 * now - self._epoch_started
        self._epoch_started = now
        # The clocks of several processes may differ by an epoch.
        over = trainer.strategy.reduce_boolean_decision(next_end > self._end, all=False)
        if over and trainer.current_epoch + 1 < (trainer.max_epochs or 0):
            LOG.info("Another epoch does not fit into train.max_minutes: training stops here.")
            trainer.should_stop = True


def progress_callbacks(terminal: bool) -> list[Callback]:
    """What measures the pace, and what tells it: a bar on a terminal's stderr, else lines."""
    pace = Pace()
    return [pace, ProgressBar(pace) if terminal else ProgressLines(pace)]


def _scores(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return _measured(metrics, SCORES)


def _measured(metrics: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: float(metrics[name]) for name in names if name in metrics}
