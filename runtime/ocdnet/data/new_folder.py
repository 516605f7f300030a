"""A folder that is whole or absent: made beside its place, then renamed into it."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ocdnet.errors import UsageError
from ocdnet.files import os_fault


@dataclass(frozen=True)
class NewFolder:
    """Where a folder is made.

    Attributes:
        scratch: a temporary folder on the disk of its place.
        target: its place.
        out: what the user calls it.
    """

    scratch: Path
    target: Path
    out: Path

    def take(self, folder: Path) -> None:
        """Rename a folder to its place, unless another process has filled that meanwhile."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if self.target.exists():
                self.target.rmdir()
            folder.rename(self.target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            raise _not_free(self.out) from error


@contextmanager
def new_folder(out: Path) -> Iterator[NewFolder]:
    """Make a folder, absent or empty before; what was not taken is gone at the end.

    Raises:
        UsageError: `out` is not absent or empty.
        RunError, EnvironmentFault: the disk is full, or the folder can't be written.
    """
    target = free_place(out)
    with _writing(out):
        nearest = next(parent for parent in target.parents if parent.exists())
        scratch = tempfile.TemporaryDirectory(prefix=".ocdnet-", dir=nearest)
    with scratch as name, _writing(out):
        yield NewFolder(Path(name), target, out)


def _not_free(out: Path) -> UsageError:
    message = f"{out} exists and is not an empty folder"
    return UsageError("output-exists", message, hint="Name a new folder, or remove this one.")


def free_place(out: Path) -> Path:
    """The folder behind `out`, perhaps a link to where there is room; raises as `new_folder`."""
    with _writing(out):
        try:
            target = out.resolve()
        except RuntimeError as error:  # a loop of links, before Python 3.13
            raise UsageError("output-exists", f"{out} can't be a folder: {error}") from error
        free = not target.exists() or (target.is_dir() and not any(target.iterdir()))
    if free and target == Path.cwd():  # it is replaced: the user's shell would stay in the old one
        raise UsageError("output-exists", f"{out} is the current folder", hint="Name a new folder.")
    if not free:
        raise _not_free(out)
    return target


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        fault = os_fault(error, path)
        fault.hint = f"Choose another folder than {path}, or make room for it."
        raise fault from error
