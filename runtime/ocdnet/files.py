"""Files whole or not at all: written beside the target, then renamed into place."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ocdnet.errors import DataError, EnvironmentFault, RunError, UserError

ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
"""Suffixes of archives, in lower case."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_SAYS_FULL = re.compile(r"No space left on device|Disk quota exceeded|database or disk is full")
"""What libraries say that hide the system's error."""

Watch = Callable[[Path, Path], None]
"""Is told of a whole temporary file, and of the path whose place it takes next; may refuse."""
_watches: list[Watch] = []


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Have each file looked at that is written within, in this process, by any thread."""
    _watches.append(watch)
    try:
        yield
    finally:
        _watches.remove(watch)


_MEMBER = re.compile(r"(.+)/([0-9]{1,18})\+([0-9]{1,12})/([^/]+)", re.DOTALL)
_LARGEST_MEMBER = 1 << 30
_TAR_BLOCK = 512
_OPEN_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def open_regular(path: str | Path) -> FileIO:
    """Open a file for reading, without a buffer; never a folder, a pipe or a device.

    A path may also be that of a tar file's member (`member_path`).

    Raises:
        OSError: it cannot be opened, or is something else than a file.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 (a third of Path's time)
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        # Without waiting: the path may have become a pipe since.
        handle = os.open(path, os.O_RDONLY | _OPEN_FLAGS)
    except ValueError as error:
        raise OSError(errno.EINVAL, "its name is none of a file", str(path)) from error
    except NotADirectoryError:
        if member := _MEMBER.fullmatch(os.fspath(path)):
            return _open_member(member)
        raise
    return FileIO(handle, "rb")


def member_path(tar: str | Path, offset: int, size: int, name: str) -> str:
    """The path by which `open_regular` finds a member of a tar file, without its index.

    Args:
        tar: the file, not compressed.
        offset: of the member's first byte in it.
        size: bytes of the member.
        name: its own, for people.
    """
    return f"{tar}/{offset}+{size}/{name}"


def is_member(path: str | Path) -> bool:
    """Whether a path is that of a member of a tar file which is there."""
    member = _MEMBER.fullmatch(os.fspath(path))
    return member is not None and os.path.isfile(member[1])  # noqa: PTH113 (as in is_folder)


def _open_member(member: re.Match[str]) -> FileIO:
    """A copy in memory: its readers map it, and ask for its size."""
    offset, size = int(member[2]), int(member[3])
    if size > _LARGEST_MEMBER:
        raise OSError(errno.EFBIG, f"{size:,} bytes are too many", member[0])
    with open_regular(member[1]) as file:
        header = os.pread(file.fileno(), _TAR_BLOCK, max(0, offset - _TAR_BLOCK))
        content = os.pread(file.fileno(), size, offset)
    if len(content) < size:
        raise OSError(errno.EIO, "its tar file has become shorter", member[0])
    if not _is_header_of(header, size, os.fsencode(member[4])):
        raise OSError(errno.EIO, "its tar file is another one than when it was listed", member[0])
    copy = FileIO(os.memfd_create("ocdnet"), "r+b")
    copy.write(content)
    copy.seek(0)
    return copy


def path_of_uri(path: str) -> str:
    """A path as a file:// URI has it, with `%20` for a space, as browsers and Path.as_uri write.

    A file of just that name goes first.
    """
    return path if os.path.lexists(path) else unquote(path)


def _is_header_of(header: bytes, size: int, name: bytes) -> bool:
    """Whether a tar's block stands before a member; a name that may be shortened is not looked at.

    Long names, and those that are not ASCII, stand in blocks of their own.
    """
    told = header[:100].rstrip(b"\0")
    whole = len(told) < 99 and len(name) < 60 and name.isascii()
    named = not whole or told.rpartition(b"/")[2] == name
    return named and re.fullmatch(rb"[ 0]*%o[ \0]*" % size, header[124:136]) is not None


def read_regular(path: str | Path, most: int) -> bytes:
    """A file's content.

    Raises:
        OSError: as `open_regular`, or it has more than `most` bytes.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"{size:,} bytes are more than {most:,}", str(path))
        return file.readall()


def is_folder(path: str | Path) -> bool:
    """Whether it is a folder; of a path that no file system could have: no."""
    return os.path.isdir(path)  # noqa: PTH112 (Path's raises for names that are too long)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless it is there; raises as `replacing`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise os_fault(error, path) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block succeeds.

    Raises:
        UserError: the folder cannot be made or written, or the disk is full (`os_fault`).
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        for watch in _watches:
            watch(temporary, path)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise os_fault(error, path) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all; raises as `replacing`.

    Bytes of a file's name that are no UTF-8 are written as Python shows them.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(path: Path, data: Any) -> None:
    """Write strict JSON, whole or not at all; raises as `replacing`."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def sha256(path: Path) -> str:
    """Digest of a file.

    Raises:
        DataError: there is no such file, or it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(
            "no-model", f"There is no file {path} to read", got=str(error.strerror or error)
        ) from error


def link(path: Path, target: Path) -> None:
    """Make `path` a symbolic link to `target`, in place of what it was."""
    beside = path.with_name(f".{path.name}.tmp")
    try:
        beside.unlink(missing_ok=True)
        beside.symlink_to(target)
        beside.replace(path)
    except OSError as error:
        raise os_fault(error, path) from error


def disk_full(error: BaseException) -> UserError | None:
    """The UserError of an error that, or whose cause, says that a disk is full; else None."""
    cause: BaseException | None = error
    while cause is not None:
        number = cause.errno if isinstance(cause, OSError) else None
        if number in _FULL or _SAYS_FULL.search(str(cause)):
            name = getattr(cause, "filename", None)
            return _full(Path(os.fsdecode(name)) if isinstance(name, str | bytes) else None)
        cause = cause.__cause__ or cause.__context__
    return None


def os_fault(error: OSError, path: Path) -> UserError:
    """The UserError for an operating-system error at a path that is written."""
    if error.errno in _FULL:
        return _full(path)
    return EnvironmentFault(
        "cannot-write",
        f"Cannot write {path}: {error.strerror or error}",
        expected="a writable folder",
        hint="Choose another results_dir.",
    )


def _full(path: Path | None) -> RunError:
    where = path or f"a file (temporary ones go to {tempfile.gettempdir()})"
    return RunError(
        "disk-full",
        f"No space left while writing {where}",
        hint="Free some space, or choose another results_dir; then resume.",
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
