"""From the spec's `train` section to a Lightning Trainer."""

from __future__ import annotations

import logging
import random
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger

from ocdnet.config.train import TrainConfig
from ocdnet.devices import gpu_indices
from ocdnet.status import StatusWriter
from ocdnet.training.checkpoints import AtomicCheckpointIO, EpochCheckpoints
from ocdnet.training.ema import WeightAverage
from ocdnet.training.pictures import MapPictures, WorstAndBest
from ocdnet.training.progress import StatusLines, StepTimes, TimeLimit, progress_callback

LOG = logging.getLogger("ocdnet")
_LOGGED_STEPS = 10
"""Steps between two points of a curve."""
_DRY_BATCHES = 3
"""Of a dry run; the first warms up, and the others tell how long one takes."""
_PRECISION = {"fp32": "32-true", "fp16": "16-mixed", "bf16": "bf16-mixed"}


def seed_everything(seed: int) -> int:
    """Seed torch, numpy and Python; -1 draws a seed. Returns the one used."""
    chosen = random.SystemRandom().randrange(2**31) if seed < 0 else seed
    # Lightning says so on its own logger; the resolved spec holds it.
    pl.seed_everything(chosen, verbose=False)
    return chosen


def build_trainer(
    config: TrainConfig,
    folder: Path,
    status: StatusWriter,
    validates: bool,
    loggers: Sequence[Logger] = (),
) -> pl.Trainer:
    """The Trainer of one run.

    Args:
        config: the `train` section.
        folder: where checkpoints go.
        status: the run's status file.
        validates: whether there is validation data.
        loggers: where curves and pictures go; see `run_loggers`.

    Raises:
        EnvironmentFault: the devices asked for are not here.
    """
    _quiet()
    gpus = gpu_indices(config.num_gpus, config.gpu_ids)
    torch.backends.cudnn.benchmark = config.cudnn.benchmark
    torch.backends.cudnn.deterministic = config.cudnn.deterministic
    callbacks = [
        StatusLines(status),
        progress_callback(sys.stderr.isatty()),
    ]
    if config.is_dry_run:
        callbacks.append(StepTimes())
    else:
        callbacks.append(EpochCheckpoints(folder, config, validates))
        callbacks += [WorstAndBest(folder)] if validates else []
        callbacks += [MapPictures()] if validates and loggers else []
    if config.model_ema:
        callbacks.append(WeightAverage(config.model_ema_decay))
    if config.max_minutes is not None:
        callbacks.append(TimeLimit(config.max_minutes))
    return pl.Trainer(
        accelerator="gpu" if gpus else "cpu",
        devices=gpus or 1,
        num_nodes=config.num_nodes,
        strategy="ddp" if len(gpus) * config.num_nodes > 1 else "auto",
        precision=_precision(config.precision, bool(gpus)),
        max_epochs=config.num_epochs,
        check_val_every_n_epoch=config.validation_interval,
        num_sanity_val_steps=0,
        accumulate_grad_batches=config.accumulate_grad_batches,
        gradient_clip_val=config.trainer.clip_grad_norm or None,
        # The sampler shards by itself, whatever train.use_distributed_sampler says.
        use_distributed_sampler=False,
        fast_dev_run=_DRY_BATCHES if config.is_dry_run else False,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        logger=list(loggers) or False,
        log_every_n_steps=_LOGGED_STEPS,
        enable_model_summary=False,
        enable_checkpointing=not config.is_dry_run,
        enable_progress_bar=sys.stderr.isatty(),
        default_root_dir=folder,
    )


def _precision(name: str, gpu: bool) -> str:
    if name == "fp16" and not gpu:
        LOG.info("fp16 needs a GPU: training in bf16 on the CPU.")
        return _PRECISION["bf16"]
    return _PRECISION[name]


def _quiet() -> None:
    """Keep Lightning's hints for its programmers away from our users."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"pytorch_lightning\..*")
