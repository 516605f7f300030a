"""What a training run writes to status.json and logs at each epoch and validation."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from ocdnet.runs.names import LOG_ALIASES, LOSS_TERMS, SCORES
from ocdnet.runs.status import TRAINED, VALIDATED, StatusWriter
from ocdnet.runs.status_line import Kpi
from ocdnet.training.schedule import steps_per_epoch

LOG = logging.getLogger("ocdnet")


class StatusCallback(Callback):
    """Writes TAO's status lines and one log line an epoch."""

    def __init__(self, status: StatusWriter) -> None:
        self.status = status
        self._epoch_started = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the start; the clock of a run that resumes within an epoch starts here."""
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


def _scores(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return _measured(metrics, SCORES)


def _measured(metrics: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: float(metrics[name]) for name in names if name in metrics}
