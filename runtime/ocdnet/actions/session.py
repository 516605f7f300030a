"""The frame around every action: its folder, its resolved spec, its first and last status line."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ocdnet.config import spec
from ocdnet.config.spec import Loaded
from ocdnet.errors import RunError, UserError
from ocdnet.files import os_fault, write_text
from ocdnet.ranks import is_rank_zero
from ocdnet.status import StatusWriter

LOG = logging.getLogger("ocdnet")


@dataclass(frozen=True)
class Session:
    """Where an action writes.

    Attributes:
        folder: the action's results folder.
        status: its status.json.
    """

    folder: Path
    status: StatusWriter


@contextmanager
def session(loaded: Loaded) -> Iterator[Session]:
    """Run an action's body between STARTED and SUCCESS or FAILURE, as rank 0 writes them.

    Raises:
        UserError: what the body raised, or what its failure means: out of memory, disk full.
    """
    folder = spec.results_dir(loaded.experiment, loaded.action)
    if is_rank_zero():
        write_text(folder / "experiment.yaml", spec.to_yaml(spec.dump(loaded)))
    status = StatusWriter(folder / "status.json", enabled=is_rank_zero())
    for notice in loaded.notices:
        LOG.warning(notice)
    status.write("STARTED", f"Starting OCDNet {loaded.action}.")
    try:
        yield Session(folder, status)
    except BaseException as error:
        failure = _explained(error)
        status.write("FAILURE", _told(failure))
        if failure is error:
            raise
        raise failure from error
    status.write("SUCCESS", f"{loaded.action} finished successfully.")


def _told(failure: BaseException) -> str:
    if isinstance(failure, KeyboardInterrupt):
        return "interrupted"
    return str(failure) or type(failure).__name__


def _explained(error: BaseException) -> BaseException:
    """A UserError where the user can mend the cause, else the error itself."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return RunError(
            "out-of-memory",
            "The machine ran out of memory",
            got=str(error)[:200] or None,
            hint="Lower the batch size or the image size.",
        )
    if isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker"):
        return RunError(
            "worker-died",
            "A process that prepares samples died",
            got=str(error)[:200],
            hint="Most often memory ran out: lower loader.num_workers or the batch size; in a "
            "container, raise --shm-size.",
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return os_fault(error, Path(error.filename or "a file"))
    return error
