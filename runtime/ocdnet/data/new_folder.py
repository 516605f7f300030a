"""A new folder, whole or absent: filled beside its place, then renamed."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ocdnet.errors import UsageError
from ocdnet.files import os_fault


def checked_target(out: Path) -> Path:
    """The folder behind `out`, which may be a link to where there is room.

    Raises:
        UsageError: it is neither absent nor empty, or it is the current folder.
    """
    with writing(out):
        try:
            target = out.resolve()
        except RuntimeError as error:  # a loop of links, before Python 3.13
            raise UsageError("output-exists", f"{out} can't be a folder: {error}") from error
        free = not target.exists() or (target.is_dir() and not any(target.iterdir()))
    if free and target == Path.cwd():  # it is replaced: the user's shell would stay in the old one
        raise UsageError("output-exists", "--out is the current folder", hint="Name a new folder.")
    if not free:
        raise _not_free(out)
    return target


@contextmanager
def scratch_near(target: Path, out: Path) -> Iterator[Path]:
    """A temporary folder on the target's disk, in the nearest folder that is there."""
    with writing(out):
        nearest = next(parent for parent in target.parents if parent.exists())
        scratch = tempfile.TemporaryDirectory(prefix=".ocdnet-new-", dir=nearest)
    with scratch as name:
        yield Path(name)


def take_place(folder: Path, target: Path, out: Path) -> None:
    """Rename a folder to the target, unless another process has filled that meanwhile."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if target.exists():
            target.rmdir()
        folder.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        raise _not_free(out) from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within: errors of the system are the user's, about `--out`."""
    try:
        yield
    except OSError as error:
        fault = os_fault(error, path)
        fault.hint = "Choose another --out, or make room for it."
        raise fault from error


def _not_free(out: Path) -> UsageError:
    message = f"{out} exists and is not an empty folder"
    return UsageError("output-exists", message, hint="Name a new folder, or remove this one.")
