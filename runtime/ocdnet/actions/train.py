"""Train: data, network, trainer, fit."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from ocdnet.actions.session import session
from ocdnet.checkpoint import load_pretrained, read_checkpoint
from ocdnet.config import spec
from ocdnet.config.experiment import Experiment
from ocdnet.config.spec import Loaded
from ocdnet.data.datamodule import DetectionData
from ocdnet.errors import DataError, EnvironmentFault, RunError, SpecError
from ocdnet.files import replacing, write_json
from ocdnet.models.dbnet import DBNet
from ocdnet.models.factory import build_model
from ocdnet.ranks import is_rank_zero
from ocdnet.status import last_state
from ocdnet.training.checkpoints import BEST, LATEST, EpochCheckpoints
from ocdnet.training.module import DetectionModule
from ocdnet.training.trainer import build_trainer, seed_everything

LOG = logging.getLogger("ocdnet")
_OF_A_RUN = ("model_*.pth", "results.json")


def run(loaded: Loaded) -> dict[str, Any]:
    """Train a detector, or go on training one.

    Args:
        loaded: a spec checked for `train` or `retrain`.

    Returns:
        The content of results.json: folder, best checkpoint and its metric, all checkpoints.

    Raises:
        UserError: bad data, a folder that holds a run, missing hardware, a run that failed.
    """
    experiment = loaded.experiment
    train = experiment.train
    _refuse_unbuilt(experiment)
    folder = spec.results_dir(experiment, loaded.action)
    resume = (
        Path(train.resume_training_checkpoint_path)
        if train.resume_training_checkpoint_path
        else None
    )
    if resume is None and is_rank_zero():  # the other ranks start when rank 0 has its folder
        _refuse_used(folder)
    train.seed = seed_everything(train.seed)
    with session(loaded) as here:
        if resume is not None:
            _check_resumable(resume, experiment)
            _bring_best(resume.parent / BEST, here.folder / BEST)
        data = DetectionData(experiment.dataset, train.seed)
        _log_data(data)
        model = build_model(experiment.model)
        if resume is None:
            _start_from_pretrained(model, experiment.model.pretrained_model_path)
        module = DetectionModule(model, train, spec.dump(loaded))
        trainer = build_trainer(train, here.folder, here.status, data.eval_set is not None)
        _fit(trainer, module, data, resume)
        if train.is_dry_run:
            return {"action": loaded.action, "dry_run": True, "results_dir": str(here.folder)}
        result = _result(trainer, here.folder, loaded.action)
        if is_rank_zero():
            write_json(here.folder / "results.json", result)
        return result


def _fit(
    trainer: pl.Trainer, module: DetectionModule, data: DetectionData, resume: Path | None
) -> None:
    try:
        trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
    except SystemExit:
        # Lightning turns Ctrl-C into exit 1.
        raise KeyboardInterrupt from None


def _result(trainer: pl.Trainer, folder: Path, action: str) -> dict[str, Any]:
    callback = trainer.checkpoint_callback
    if not isinstance(callback, EpochCheckpoints) or callback.best_epoch is None:
        raise RunError("nothing-trained", "Training ended before its first epoch did")
    metrics = {
        name: float(value)
        for name, value in trainer.callback_metrics.items()
        if name in ("train_loss", "hmean", "precision", "recall")
    }
    return {
        "action": action,
        "results_dir": str(folder),
        "epochs": trainer.current_epoch,
        "best_epoch": callback.best_epoch,
        "best_metric": {"name": callback.metric, "value": callback.best},
        "best_checkpoint": str(folder / BEST),
        "checkpoints": sorted(path.name for path in folder.glob("model_epoch_*.pth")),
        "last_metrics": metrics,
    }


def _refuse_unbuilt(experiment: Experiment) -> None:
    """What the spec may say and this release does not do yet: better refused than ignored."""
    train = experiment.train
    asked = {
        "train.model_ema": train.model_ema,
        "model.load_pruned_graph": experiment.model.load_pruned_graph,
        "train.distributed_strategy": train.distributed_strategy != "ddp",
    }
    for key, wanted in asked.items():
        if wanted:
            raise EnvironmentFault(
                "not-built-yet", f"{key!r} is not available in this release", hint="Remove it."
            )


def _refuse_used(folder: Path) -> None:
    """A folder that holds a run is not written over.

    One that failed without a checkpoint may be, and a dry run.
    """
    held = sorted(path.name for name in _OF_A_RUN for path in folder.glob(name))
    state = last_state(folder / "status.json")
    if not held and state in (None, "FAILURE", "SUCCESS"):
        return
    latest = folder / LATEST
    raise SpecError(
        "results-dir-in-use",
        f"{folder} already holds a run",
        got=held[0] if held else f"status.json saying {state}",
        expected="a folder without one",
        hint=(
            f"Set another results_dir, or go on: train.resume_training_checkpoint_path={latest}"
            if latest.exists()
            else "Set another results_dir."
        ),
    )


def _check_resumable(path: Path, experiment: Experiment) -> None:
    checkpoint = read_checkpoint(path)
    if not checkpoint.full:
        raise DataError(
            "not-resumable",
            f"{path} holds weights, but no state of the optimiser to resume from",
            expected="a model_epoch_<EEE>_step_<SSSSS>.pth",
            hint=f"To start from these weights: model.pretrained_model_path={path}",
        )
    backbone = experiment.model.backbone
    if checkpoint.backbone not in (None, backbone):
        raise DataError(
            "checkpoint-mismatch",
            f"{path} was trained with another backbone",
            got=backbone,
            expected=checkpoint.backbone,
            hint=f"Set model.backbone={checkpoint.backbone}",
        )
    LOG.info("Resuming training from checkpoint: %s", path)


def _bring_best(best: Path, here: Path) -> None:
    """Copy the best so far into the folder of a run that goes on in another one."""
    if best.is_file() and not here.exists():
        with replacing(here) as temporary:
            shutil.copyfile(best, temporary)


def _start_from_pretrained(model: DBNet, path: str) -> None:
    if not path:
        return
    report = load_pretrained(model, read_checkpoint(Path(path)))
    LOG.info(
        "Weights of %s: %d loaded, %d missing, %d unexpected, %d of another shape.",
        path,
        len(report.loaded),
        len(report.missing),
        len(report.unexpected),
        len(report.mismatched),
    )


def _log_data(data: DetectionData) -> None:
    annotations = data.train_set.annotations
    words = sum(len(annotation.ignore) for annotation in annotations)
    ignored = sum(int(annotation.ignore.sum()) for annotation in annotations)
    held_back = len(data.eval_set) if data.eval_set is not None else 0
    LOG.info(
        "Training on %d images with %d text regions (%d ignored); validating on %d images.",
        len(annotations),
        words,
        ignored,
        held_back,
    )
