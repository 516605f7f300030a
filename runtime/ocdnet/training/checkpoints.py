"""When and how checkpoints are written: TAO's names, whole files, best and latest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from ocdnet.config.train import TrainConfig
from ocdnet.errors import Interrupted, RunError
from ocdnet.files import link, replacing
from ocdnet.runs.files import BEST, EPOCHS, LATEST, epoch_name
from ocdnet.runs.names import Metric, rank
from ocdnet.training.stopping import StopRequest
from ocdnet.weights import save


def clear_leftovers(folder: Path) -> None:
    """Remove the temporary files of a run that was killed while it wrote a checkpoint."""
    for path in folder.glob(".*.pth.*tmp"):
        path.unlink(missing_ok=True)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames; reads tensors and plain values only."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write a whole checkpoint or none; raises as `replacing`."""
        try:
            _write(checkpoint, Path(path))
        except RunError as error:
            if error.code == "disk-full":
                error.hint = (
                    f"Free some space, then resume from {LATEST}; train.keep_checkpoints=N keeps "
                    "the newest N checkpoints only."
                )
            raise

    def load_checkpoint(self, path: Any, map_location: Any = None, **_: Any) -> dict[str, Any]:
        """Read a checkpoint with `weights_only`, whatever the caller asks."""
        loaded: dict[str, Any] = super().load_checkpoint(path, map_location, weights_only=True)
        return loaded


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    # Lightning writes to memory and the system's temporary folder first: slower, and one more disk
    # that may be full.
    with replacing(path) as temporary:
        save(checkpoint, temporary)


class EpochCheckpoints(Checkpoint):
    """Saves `model_epoch_<EEE>_step_<SSSSS>.pth`, `model_best.pth` and a link to the latest.

    Epochs count from 0. Best is the epoch with the highest hmean, of equal ones that with the
    lowest train_loss; without validation the one with the lowest train_loss. A run that receives
    SIGTERM finishes its optimiser step or its validation, saves and ends.

    Args:
        folder: where to write.
        config: the `train` section: interval, its unit, how many are kept. The last epoch is
            always saved; the newest checkpoint and the one resumed from are never deleted.
        validates: whether hmean is measured.
        stop: the run's stop request.
    """

    def __init__(
        self, folder: Path, config: TrainConfig, validates: bool, stop: StopRequest
    ) -> None:
        self.folder, self.keep, self.stop = folder, config.keep_checkpoints, stop
        self.interval, self.unit = config.checkpoint_interval, config.checkpoint_interval_unit
        self._step, self._start = 0, Path()
        self.metric: Metric = "hmean" if validates else "train_loss"
        self.best: float | None = None
        self.best_loss: float | None = None
        self.best_epoch: int | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the step and the best epoch from which a resumed run goes on."""
        self.stop.defer()
        # Other machines may not see the folder with the best checkpoint: rank 0 has looked.
        known = (self.best, self.best_epoch, self.best_loss)
        self.best, self.best_epoch, self.best_loss = trainer.strategy.broadcast(known)
        self._step = trainer.global_step
        if trainer.ckpt_path:  # now, as it may be the link to the latest
            self._start = Path(trainer.ckpt_path).resolve()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Save within an epoch if the interval counts steps, or if the run is to stop."""
        stepped, self._step = trainer.global_step > self._step, trainer.global_step
        last_batch = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        due = self.unit == "step" and trainer.global_step % self.interval == 0
        # Between steps, accumulated gradients would be lost. The epoch's end saves the last step.
        if not stepped or last_batch:
            return
        stopping = self.stop.agreed(trainer)
        if due or stopping:
            self._save(trainer)
        if stopping:
            self._stop()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the best and, at its interval, the epoch."""
        epoch = trainer.current_epoch
        last = epoch + 1 == trainer.max_epochs or trainer.should_stop
        improved = self._improved(trainer.callback_metrics, epoch, trainer)
        if last and self.best_epoch is None:
            self.best_epoch = epoch  # a run too short to be validated still leaves a model
            improved = True
        if improved:
            trainer.save_checkpoint(self.folder / BEST)
        stopping = self.stop.agreed(trainer)
        due = self.unit == "step" or (epoch + 1) % self.interval == 0
        if last or due or stopping:
            self._save(trainer)
        if stopping and not last:
            self._stop()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop deferring: what is left takes no time."""
        self.stop.end_deferral()

    def _stop(self) -> None:
        self.stop.end_deferral()
        latest = self.folder / LATEST
        raise Interrupted(
            "interrupted",
            f"interrupted by SIGTERM, after everything was saved in {latest}",
            hint=f"Go on: train.resume_training_checkpoint_path={latest}",
        )

    def _improved(self, metrics: Mapping[str, Any], epoch: int, trainer: pl.Trainer) -> bool:
        # Between validations the metrics keep the last hmean: compare only a new one.
        if self.metric == "hmean" and (epoch + 1) % (trainer.check_val_every_n_epoch or 1):
            return False
        if self.metric not in metrics:
            return False
        value, loss = float(metrics[self.metric]), float(metrics["train_loss"])
        if self.best is not None:
            before = rank(self.metric, self.best, self.best_loss)
            if not rank(self.metric, value, loss) > before:
                return False
        self.best, self.best_epoch, self.best_loss = value, epoch, loss
        return True

    def _save(self, trainer: pl.Trainer) -> None:
        name = epoch_name(trainer.current_epoch, trainer.global_step)
        trainer.save_checkpoint(self.folder / name)
        if trainer.is_global_zero:
            link(self.folder / LATEST, Path(name))
            self._delete_old()

    def _delete_old(self) -> None:
        if not self.keep:
            return
        # By age, not by name: a run resumed from an earlier epoch finds files of later ones.
        by_age = sorted(self.folder.glob(EPOCHS), key=lambda path: path.stat().st_mtime_ns)
        for path in by_age[: -self.keep]:
            if path.resolve() != self._start:
                path.unlink(missing_ok=True)

    def state_dict(self) -> dict[str, Any]:
        """The best so far, for a resumed run."""
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss,
            "metric": self.metric,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the resumed run's best, if its file is in the folder and its metric the same."""
        if state_dict.get("metric") == self.metric and (self.folder / BEST).exists():
            self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]
            self.best_loss = state_dict.get("best_loss")  # earlier releases did not keep it
