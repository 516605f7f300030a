"""Which folder a run may write to, and which checkpoint it may resume from."""

from __future__ import annotations

import filecmp
import logging
import shutil
from pathlib import Path

from torch import nn

from ocdnet.checkpoint import Checkpoint
from ocdnet.config.experiment import Experiment
from ocdnet.errors import DataError, SpecError
from ocdnet.files import replacing
from ocdnet.runs.files import BEST, EPOCHS, LATEST, RESULTS, STATUS
from ocdnet.runs.status import last_state
from ocdnet.training.optimizer import optimizer_arguments
from ocdnet.training.resume_state import check_state
from ocdnet.tree import keys
from ocdnet.unpickle import read_pickle
from ocdnet.weights import checkpoint_of, load_exactly

LOG = logging.getLogger("ocdnet")


def refuse_used(folder: Path, start: Path | None) -> None:
    """Refuse a folder that holds another run.

    What a dry run left, or a run that ended before its first checkpoint, is no obstacle.

    Args:
        folder: where the run will write.
        start: the checkpoint to resume from; if it lies in `folder`, that run goes on.

    Raises:
        SpecError: `folder` holds checkpoints or results of another run.
    """
    if start is not None and start.resolve().parent == folder.resolve():
        return
    held = sorted(path.name for path in [*folder.glob(EPOCHS), *folder.glob(RESULTS)])
    # An earlier attempt to resume may have copied the best checkpoint (see `bring_best`).
    copied = start is not None and _same(start.parent / BEST, folder / BEST)
    if (folder / BEST).exists() and not copied:
        held.insert(0, BEST)
    if (folder / LATEST).exists() and not (folder / LATEST).is_symlink():  # ours is a link
        held.append(LATEST)
    if held:
        raise _in_use(folder, held[0])


def refuse_running(folder: Path) -> None:
    """Refuse a folder whose status.json shows a run under way; for folders without locks.

    Raises:
        SpecError: the last line is of a run that goes on, or was killed.
    """
    state = last_state(folder / STATUS)
    if state not in (None, "FAILURE", "SUCCESS"):
        raise _in_use(folder, f"{STATUS} saying {state}")


def _in_use(folder: Path, got: str) -> SpecError:
    start = next((folder / name for name in (LATEST, BEST) if (folder / name).exists()), None)
    return SpecError(
        "results-dir-in-use",
        f"{folder} already holds a run",
        got=got,
        expected="a folder without one",
        hint=(
            f"Set another results_dir, or go on: train.resume_training_checkpoint_path={start}"
            if start is not None
            else "Set another results_dir."
        ),
    )


def _same(left: Path, right: Path) -> bool:
    return left.is_file() and right.is_file() and filecmp.cmp(left, right, shallow=False)


def check_resumable(path: Path, experiment: Experiment, model: nn.Module) -> Checkpoint:
    """Check that this spec and network can resume from a checkpoint; returns it.

    Raises:
        DataError: it is missing, holds weights only, has another network or optimiser, or a state
            that is not whole.
    """
    content = read_pickle(path)
    checkpoint = checkpoint_of(path, content)
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
    load_exactly(model, checkpoint, backbone)
    _check_optimizer(checkpoint, experiment)
    check_state(path, content, model, experiment.train.optimizer)
    LOG.info("Resuming training from checkpoint: %s", path)
    return checkpoint


def _check_optimizer(checkpoint: Checkpoint, experiment: Experiment) -> None:
    """Only the optimiser's type and state must be the same; its numbers may change."""
    now = experiment.train.optimizer
    changed = {"type": now.type} | (
        {"args.amsgrad": now.args.amsgrad} if "amsgrad" in optimizer_arguments(now) else {}
    )
    for name, value in changed.items():
        before = keys.get(checkpoint.spec, f"train.optimizer.{name}")
        if value != before:
            raise DataError(
                "checkpoint-mismatch",
                f"{checkpoint.path} was trained with another train.optimizer.{name}",
                got=value,
                expected=before,
                hint=f"Set train.optimizer.{name}={before}, or start anew from its weights: "
                f"model.pretrained_model_path={checkpoint.path}",
            )


def bring_best(start: Path, folder: Path) -> None:
    """Copy the best checkpoint so far into the new folder of a run that is resumed."""
    best = start.parent / BEST
    if best.is_file() and not (folder / BEST).exists():
        with replacing(folder / BEST) as temporary:
            shutil.copyfile(best, temporary)
