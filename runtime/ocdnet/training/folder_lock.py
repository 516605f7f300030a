"""One run at a time in a results folder: a lock that ends with its process."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ocdnet.errors import SpecError
from ocdnet.files import os_fault

LOG = logging.getLogger("ocdnet")
_UNKNOWN = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF)
_open: set[int] = set()


@contextmanager
def locked_folder(path: Path) -> Iterator[bool]:
    """Lock a results folder by a file in it that no run ever replaces, its status.json, or itself.

    The kernel releases the lock when the process ends, however it ends.

    Args:
        path: the file, made with its folder if it is missing; or the folder.

    Yields:
        Whether the folder is locked. A file system without locks only causes a warning.

    Raises:
        SpecError: another process has locked it.
        EnvironmentFault: the folder can't be made or written.
    """
    folder = path if path.is_dir() else path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDONLY if path == folder else os.O_WRONLY | os.O_APPEND | os.O_CREAT
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        raise os_fault(error, path) from error
    _open.add(handle)
    try:
        yield _locked(handle, folder)
    finally:
        if handle in _open:  # else it was closed in a fork
            _open.discard(handle)
            os.close(handle)


def _locked(handle: int, folder: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
        os.close(_open.pop())


os.register_at_fork(after_in_child=_close_in_child)
