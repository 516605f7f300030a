"""The frame around every action: its folder, its resolved spec, its first and last status line."""

from __future__ import annotations

import errno
import logging
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_sharer
from pathlib import Path

from ocdnet.config import spec
from ocdnet.config.spec import Loaded
from ocdnet.errors import DataError, RunError, UserError
from ocdnet.files import os_fault, write_text
from ocdnet.ranks import is_rank_zero
from ocdnet.runs.files import EXPERIMENT, STATUS
from ocdnet.runs.status import STARTING, StatusWriter, WarningLines, last_state

LOG = logging.getLogger("ocdnet")

_NO_MEMORY = re.compile(
    r"(out of|allocate|enough|insufficient) memory|(unable|failed) to allocate", re.IGNORECASE
)
"""What numpy, torch, OpenCV, ONNX Runtime and the system say when memory is short."""

_WORKERS = "dataset.train_dataset.loader.num_workers"
_TRAIN_LESS = (
    "dataset.train_dataset.loader.batch_size, or the size of EastRandomCropData in "
    "dataset.train_dataset.args.pre_processes"
)
_LESS = {
    "train": _TRAIN_LESS,
    "retrain": _TRAIN_LESS,
    "evaluate": "evaluate.batch_size, or Resize2D's short_size in "
    "dataset.validate_dataset.args.pre_processes",
    "inference": "inference.batch_size, or inference.width and inference.height",
    "export": "export.width and export.height",
    "gen_trt_engine": "gen_trt_engine.tensorrt.max_batch_size, workspace_size, or "
    "calibration.cal_batch_size",
    "prune": "Resize2D's short_size in dataset.validate_dataset.args.pre_processes",
}
"""What to lower so that an action needs less memory."""


@dataclass(frozen=True)
class Session:
    """Where an action writes.

    Attributes:
        folder: the action's results folder.
        status: its status.json.
    """

    folder: Path
    status: StatusWriter


Shared = Callable[[BaseException, StatusWriter], BaseException]


def _alone(error: BaseException, _: StatusWriter) -> BaseException:
    return error


@contextmanager
def session(loaded: Loaded, shared: Shared = _alone) -> Iterator[Session]:
    """Run an action's body between STARTED and SUCCESS or FAILURE, as rank 0 writes them.

    Args:
        loaded: the action's spec.
        shared: of an error of this process, the one that ends the run: another process may have
            failed before, and have written its FAILURE.

    Raises:
        UserError: what the body raised, or what its failure means: out of memory, disk full.
    """
    folder = spec.results_dir(loaded.experiment, loaded.action)
    if is_rank_zero():
        write_text(folder / EXPERIMENT, spec.to_yaml(spec.dump(loaded)))
    status = StatusWriter(folder / STATUS, enabled=is_rank_zero())
    status.write("STARTED", f"{STARTING} {loaded.action}.")
    warnings = WarningLines(status)
    LOG.addHandler(warnings)
    try:
        for notice in loaded.notices:
            LOG.warning(notice)
        yield Session(folder, status)
    except BaseException as error:
        failure = shared(_explained(error, loaded.action), status)
        if last_state(status.path) != "FAILURE":
            status.write("FAILURE", _told(failure))
        if failure is error:
            raise
        raise failure from error
    finally:
        LOG.removeHandler(warnings)
    status.write("SUCCESS", f"{loaded.action} finished successfully.")


def _told(failure: BaseException) -> str:
    if isinstance(failure, KeyboardInterrupt):
        return "interrupted"
    return str(failure) or type(failure).__name__


def _explained(error: BaseException, action: str) -> BaseException:
    """A UserError where the user can mend the cause, else the error itself."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        return _out_of_memory(error, action)
    death = next(filter(_is_workers_death, _causes(error)), None)
    if death is not None:
        return RunError(
            "worker-died",
            "A process that prepares samples died",
            got=(str(death) or type(death).__name__)[:200],
            hint=f"Most often memory ran out: lower {_WORKERS} or batch_size; in a container, "
            "raise --shm-size.",
        )
    if isinstance(error, PermissionError) and error.filename:
        return DataError(
            "cannot-read",
            f"This user may not read {error.filename}",
            expected="a file that may be read, in folders that may be entered",
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return os_fault(error, Path(error.filename or "a file"))
    return error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and what it arose from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _is_workers_death(error: BaseException) -> bool:
    """Torch tells of it from a signal's handler: whatever code it interrupts may wrap it.

    A worker that dies while it hands over a sample's memory is known by its silence before that.
    """
    if isinstance(error, ConnectionError | EOFError | FileNotFoundError):
        frames = traceback.walk_tb(error.__traceback__)
        return any(frame.f_code.co_filename == resource_sharer.__file__ for frame, _ in frames)
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker")


def _out_of_memory(error: BaseException, action: str) -> RunError:
    device = "cuda" in str(error).lower()
    more = ""
    if action in ("train", "retrain"):
        more = " Or set train.precision=bf16." if device else f" Or lower {_WORKERS}."
    # An error of a data worker comes with its traceback, and ends with what happened.
    lines = str(error).strip().splitlines()
    return RunError(
        "out-of-memory",
        f"The {'GPU' if device else 'machine'} ran out of memory",
        got=lines[-1][:200] if lines else None,
        hint=f"Lower {_LESS.get(action, 'the batch size or the image size')}.{more}",
    )
