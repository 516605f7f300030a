"""One run at a time in a results folder: a lock that ends with its process."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ocdnet.errors import SpecError
from ocdnet.files import os_fault

LOG = logging.getLogger("ocdnet")
_UNKNOWN = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_open: set[TextIO] = set()


@contextmanager
def locked_folder(path: Path) -> Iterator[bool]:
    """Lock a results folder by a file in it that no run ever replaces: its status.json.

    The kernel releases the lock when the process ends, however it ends.

    Args:
        path: the file; made, with its folder, if it is missing.

    Yields:
        Whether the folder is locked. A file system without locks only causes a warning.

    Raises:
        SpecError: another process has locked it.
        EnvironmentFault: the folder can't be made or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        raise os_fault(error, path) from error
    with file:
        held = _locked(file, path.parent)
        _open.add(file)
        try:
            yield held
        finally:
            _open.discard(file)


def _locked(file: TextIO, folder: Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SpecError(
            "results-dir-in-use",
            f"Another run is writing to {folder}",
            got=str(folder),
            expected="a folder without one",
            hint="Set another results_dir, or wait until that run has ended.",
        ) from error
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise os_fault(error, folder) from error
        LOG.warning(
            "The file system of %s has no locks: make sure that no other run writes there", folder
        )
        return False
    return True


def _close_in_child() -> None:
    # A lock lasts until the last process closes its file, and data workers may outlive the run.
    while _open:
        _open.pop().close()


os.register_at_fork(after_in_child=_close_in_child)
