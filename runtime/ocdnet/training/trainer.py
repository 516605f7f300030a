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
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger

from ocdnet.config.train import TrainConfig
from ocdnet.devices import Devices
from ocdnet.ranks import launched
from ocdnet.runs.status import StatusWriter
from ocdnet.training.checkpoints import AtomicCheckpointIO, EpochCheckpoints
from ocdnet.training.ema import TrainedWeights, WeightAverage
from ocdnet.training.launcher import watch_children
from ocdnet.training.pace import progress_callbacks
from ocdnet.training.pictures import MapPictures, WorstAndBest
from ocdnet.training.process_group import cluster
from ocdnet.training.status_callback import StatusCallback
from ocdnet.training.stopping import StopRequest
from ocdnet.training.strategy import build_strategy, precision_of
from ocdnet.training.timing import StepTimes, TimeLimit

_LOGGED_STEPS = 10
"""Steps between two points of a curve."""
_DRY_BATCHES = 3
"""Batches of a dry run: the first warms up, the others are timed."""


def seed_everything(seed: int) -> int:
    """Seed torch, numpy and Python, by a drawn seed if it is -1; the seed used."""
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
    *,
    devices: Devices,
    stop: StopRequest,
    recomputes: bool = False,
) -> pl.Trainer:
    """The Trainer of one run.

    Args:
        config: the `train` section.
        folder: where checkpoints go.
        status: the run's status file.
        validates: whether there is validation data.
        loggers: where curves and pictures go; see `run_loggers`.
        devices: what it trains on.
        stop: the run's stop request; the checkpoint callback acts on it.
        recomputes: whether the network recomputes its activations in the backward pass.
    """
    _quiet()
    torch.backends.cudnn.benchmark = config.cudnn.benchmark
    torch.backends.cudnn.deterministic = config.cudnn.deterministic
    callbacks = _callbacks(config, folder, status, validates, pictures=bool(loggers), stop=stop)
    precision = precision_of(config, bool(devices.gpus))
    named = isinstance(precision, str)
    run = launched()
    trainer = pl.Trainer(
        accelerator="gpu" if devices.gpus else "cpu",
        devices=devices.gpus or devices.processes,
        num_nodes=devices.nodes,
        strategy=build_strategy(config, devices, recomputes),
        precision=precision if named else None,
        max_epochs=config.num_epochs,
        check_val_every_n_epoch=config.validation_interval,
        num_sanity_val_steps=0,
        accumulate_grad_batches=config.accumulate_grad_batches,
        gradient_clip_val=config.trainer.clip_grad_norm or None,
        # The sampler shards by itself, whatever train.use_distributed_sampler says.
        use_distributed_sampler=False,
        fast_dev_run=_DRY_BATCHES if config.is_dry_run else False,
        callbacks=callbacks,
        plugins=[
            AtomicCheckpointIO(),
            *([] if named else [precision]),
            *([] if run is None else [cluster(run)]),
        ],
        logger=list(loggers) or False,
        log_every_n_steps=_LOGGED_STEPS,
        enable_model_summary=False,
        enable_checkpointing=not config.is_dry_run,
        enable_progress_bar=sys.stderr.isatty(),
        default_root_dir=folder,
    )
    watch_children(trainer, status)
    return trainer


def _callbacks(
    config: TrainConfig,
    folder: Path,
    status: StatusWriter,
    validates: bool,
    *,
    pictures: bool,
    stop: StopRequest,
) -> list[Callback]:
    callbacks = [StatusCallback(status), *progress_callbacks(sys.stderr.isatty())]
    if config.is_dry_run:
        callbacks.append(StepTimes())
    else:
        callbacks.append(EpochCheckpoints(folder, config, validates, stop))
        callbacks += [WorstAndBest(folder)] if validates else []
        # Pictures run part of the network on rank 0 alone: impossible where it is split.
        whole = config.distributed_strategy == "ddp"
        callbacks += [MapPictures()] if validates and pictures and whole else []
    average = WeightAverage(config.model_ema_decay) if config.model_ema else TrainedWeights()
    callbacks.append(average)
    if config.max_minutes is not None:
        callbacks.append(TimeLimit(config.max_minutes))
    return callbacks


def _quiet() -> None:
    """Hide Lightning's hints, which are meant for programmers."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\..*")
