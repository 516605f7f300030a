"""Train: data, network, trainer, fit."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytorch_lightning as pl

from ocdnet.actions.session import outputs_of, own_files, session, store_spec
from ocdnet.config import spec
from ocdnet.config.experiment import Experiment
from ocdnet.config.spec import Loaded
from ocdnet.config.train import TrainConfig
from ocdnet.data.datamodule import DetectionData
from ocdnet.devices import training_devices
from ocdnet.errors import DataError, RunError
from ocdnet.files import sha256
from ocdnet.heap import keep_freed_memory
from ocdnet.models.dbnet import DBNet
from ocdnet.models.factory import build_model
from ocdnet.networks import network_of, note_other_neck
from ocdnet.ranks import is_rank_zero
from ocdnet.runs.files import BEST, EPOCHS, SAMPLES, STATUS
from ocdnet.runs.jobs import same_folder
from ocdnet.runs.names import KPIS
from ocdnet.runs.printed import DryRunResult, Timing
from ocdnet.runs.records import (
    BestMetric,
    StartingWeights,
    TrainAction,
    TrainResult,
    write_results,
)
from ocdnet.runs.status_line import Metrics
from ocdnet.training.checkpoints import EpochCheckpoints, clear_leftovers
from ocdnet.training.folder_lock import locked_folder
from ocdnet.training.loggers import run_loggers
from ocdnet.training.module import DetectionModule
from ocdnet.training.process_group import by_rank_zero, connected, first_error
from ocdnet.training.resume import bring_best, check_resumable, refuse_running, refuse_used
from ocdnet.training.stopping import stoppable
from ocdnet.training.strategy import check_strategy
from ocdnet.training.timing import StepTimes
from ocdnet.training.trainer import build_trainer, seed_everything
from ocdnet.tree import keys
from ocdnet.weights import load_pretrained, load_pruned, read_checkpoint
from ocdnet.zoo.fetching import model_file

LOG = logging.getLogger("ocdnet")


def run(loaded: Loaded) -> TrainResult | DryRunResult:
    """Train a detector, or resume a training.

    Args:
        loaded: a spec checked for `train` or `retrain`.

    Returns:
        What results.json holds: folder, best checkpoint and its metric, all checkpoints. Of a
        dry run how long a run would take.

    Raises:
        UserError: bad data, a folder that holds another run, missing hardware, a run that failed.
    """
    experiment = loaded.experiment
    train = experiment.train
    action: TrainAction = loaded.action  # type: ignore[assignment]
    folder = spec.results_dir(experiment, action)
    given = train.resume_training_checkpoint_path
    resume = Path(given) if given else None
    devices = training_devices(train.num_gpus, train.gpu_ids, train.num_nodes)
    check_strategy(train, devices)
    if not devices.gpus:
        keep_freed_memory()
    with stoppable() as stop, connected(devices), ExitStack() as stack:
        # Before the session, which writes into the folder and stores the seed with the spec.
        by_rank_zero(lambda: _hold(loaded, folder, resume, stack))
        train.seed = seed_everything(_seed(train.seed, resume))
        here = stack.enter_context(session(loaded, first_error))
        _take_network(loaded, resume)
        model = build_model(experiment.model)
        start: dict[str, str] = {}
        if resume is None:
            start = _start_from_weights(model, experiment)
        else:
            start = dict(check_resumable(resume, experiment, model).start)
        data = DetectionData(experiment.dataset, train.seed)
        _log_data(data)
        if is_rank_zero():
            _prepare(here.folder, resume)
        module = DetectionModule(model, train, spec.dump(loaded), start)
        validates = data.eval_set is not None
        loggers = (
            [] if train.is_dry_run else run_loggers(experiment.wandb, here.folder, module.spec)
        )
        trainer = build_trainer(
            train,
            here.folder,
            here.status,
            validates,
            loggers,
            devices=devices,
            stop=stop,
            recomputes=experiment.model.activation_checkpoint,
        )
        _fit(trainer, module, data, resume)
        if train.is_dry_run:
            return DryRunResult(
                action=action,
                results_dir=str(here.folder),
                timing=_timing(trainer, data, train),
                warnings=here.warnings,
            )
        result = replace(
            _result(trainer, here.folder, action),
            start=StartingWeights(weights=start["weights"], sha256=start["sha256"])
            if start
            else None,
            warnings=here.warnings,
        )
        if is_rank_zero():
            write_results(here.folder, result)
        return result


def _hold(loaded: Loaded, folder: Path, resume: Path | None, stack: ExitStack) -> None:
    """Lock the folder while the run lasts; raises SpecError if it holds anything else."""
    refuse_used(folder, resume)
    if resume is None or not same_folder(folder, resume.resolve().parent):
        outputs_of(loaded).refuse_others([*own_files(loaded.action), SAMPLES])
    held = stack.enter_context(locked_folder(folder / STATUS))
    if resume is None and not held:
        refuse_running(folder)


def _seed(seed: int, resume: Path | None) -> int:
    """The spec's seed or, if it is to be drawn, that of the checkpoint to resume from.

    The order of the samples depends on it: with another one, the rest of an epoch would repeat
    images.
    """
    if seed >= 0 or resume is None or not resume.is_file():
        return seed
    checkpoint = read_checkpoint(resume)
    if not checkpoint.full:
        return seed
    stored = keys.get(checkpoint.spec, "train.seed")
    if isinstance(stored, bool) or not isinstance(stored, int) or not 0 <= stored < 2**32:
        raise DataError(
            "bad-checkpoint",
            f"Cannot resume from {resume}: its train.seed makes no sense",
            got=repr(stored)[:40],
            expected="a model_epoch_<EEE>_step_<SSSSS>.pth as training wrote it",
        )
    return stored


def _take_network(loaded: Loaded, resume: Path | None) -> None:
    """Take the network of the checkpoint to go on with, or of the pruned one, into the spec.

    A resumed training of another backbone is refused later: that is no slip of the pen.
    """
    config = loaded.experiment.model
    start = resume or (Path(config.pruned_graph_path) if config.load_pruned_graph else None)
    if start is None or not start.is_file():
        return  # what is absent is told where it is read
    checkpoint = read_checkpoint(start)
    if resume is None or checkpoint.backbone in (None, config.backbone):
        loaded.experiment.model = network_of(checkpoint, config)
        store_spec(loaded)


def _prepare(folder: Path, resume: Path | None) -> None:
    clear_leftovers(folder)
    if resume is not None:
        bring_best(resume, folder)


def _fit(
    trainer: pl.Trainer, module: DetectionModule, data: DetectionData, resume: Path | None
) -> None:
    # A dry run is a few batches of a first epoch: it has the weights, not the progress.
    start = None if module.config.is_dry_run else resume
    try:
        trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=True)
    except SystemExit:
        # Lightning turns Ctrl-C into exit 1.
        raise KeyboardInterrupt from None


def _result(trainer: pl.Trainer, folder: Path, action: TrainAction) -> TrainResult:
    callback = trainer.checkpoint_callback
    if not isinstance(callback, EpochCheckpoints) or callback.best_epoch is None:
        raise RunError("nothing-trained", "Training ended before its first epoch did")
    metrics: dict[str, Any] = {
        name: float(value) for name, value in trainer.callback_metrics.items() if name in KPIS
    }
    return TrainResult(
        action=action,
        results_dir=str(folder),
        epochs=trainer.current_epoch,
        best_epoch=callback.best_epoch,
        best_metric=BestMetric(name=callback.metric, value=callback.best),
        best_checkpoint=str(folder / BEST),
        checkpoints=tuple(sorted(path.name for path in folder.glob(EPOCHS))),
        last_metrics=Metrics(**metrics),
    )


def _timing(trainer: pl.Trainer, data: DetectionData, config: TrainConfig) -> Timing:
    """Seconds of an epoch and of the whole run, estimated from the batches of a dry run."""
    times = next(one for one in trainer.callbacks if isinstance(one, StepTimes))
    steps, batches = data.batches(trainer.world_size)
    step, validation = _typical(times.train), batches * _typical(times.validate)
    epoch = steps * step + validation / config.validation_interval
    return Timing(
        step_seconds=round(step, 3),
        steps_per_epoch=steps,
        validation_seconds=round(validation, 1),
        epoch_seconds=round(epoch, 1),
        run_seconds=round(config.num_epochs * epoch, 1),
    )


def _typical(times: list[float]) -> float:
    """The median without the first, which warms up, unless there is no other."""
    return median(times[1:] or times or [0.0])


def _start_from_weights(model: DBNet, experiment: Experiment) -> dict[str, str]:
    """Load the weights of a pruned network, or those of another one as far as they fit.

    Returns:
        What a checkpoint says of them (`START_KEY`); empty where nothing was loaded.
    """
    config, mode = experiment.model, experiment.dataset.train_dataset.args.img_mode
    given, start = config.pretrained_model_path, {}
    if config.load_pruned_graph:
        pruned = read_checkpoint(Path(config.pruned_graph_path))
        load_pruned(model, pruned.for_training(mode), config.backbone)
        count = sum(weight.numel() for weight in model.parameters())
        LOG.info("Retraining the pruned network of %s: %d parameters.", pruned.path, count)
        start = {"weights": config.pruned_graph_path, "sha256": sha256(pruned.path)}
    if not given:
        return start
    by_rank_zero(lambda: _fetch(given))  # alone first, so that it is fetched once
    path = model_file(given)
    checkpoint = read_checkpoint(path).for_training(mode)
    report = load_pretrained(model, checkpoint, config.backbone)
    note_other_neck(checkpoint, config)
    LOG.info("Starting from the weights of %s (%s):", given, report.source)
    for line in report.lines():
        LOG.info("  %s", line)
    return {"weights": given, "sha256": sha256(path)}


def _fetch(name_or_path: str) -> None:
    model_file(name_or_path)


def _log_data(data: DetectionData) -> None:
    held_back = len(data.eval_set) if data.eval_set is not None else 0
    LOG.info("Training on %s; validating on %d images.", data.census, held_back)
