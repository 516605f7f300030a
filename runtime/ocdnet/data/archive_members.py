"""Reading the members of zip and tar files from anyone: what they claim is checked or counted."""

from __future__ import annotations

import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from ocdnet.data.layout import HEAD_BYTES, is_foreign_archive
from ocdnet.errors import DataError, EnvironmentFault, UserError

try:
    from lzma import LZMAError
except ImportError:  # a Python that was built without it, and unpacks no .tar.xz
    LZMAError = EOFError  # type: ignore[assignment, misc]

CHUNK = 1 << 16
"""Bytes that are read at once."""

GIB = 1 << 30

_TAR_BLOCK = 512
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_REPACK = "Pack it again, e.g. tar -czf data.tar.gz FOLDER."
# What the readers of the standard library raise for bytes that are not as they should be.
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, struct.error),
    *(EOFError, OSError, ValueError, ArithmeticError, LookupError, RuntimeError),
)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Limits:
    """What an archive may hold: bytes, where that number comes from, files and folders."""

    size: int
    reason: str
    members: int


@dataclass(frozen=True)
class Member:
    """A file or a folder of an archive: its name and size as written there, and its bytes.

    `offset` is the place of its first byte in a tar file, as it is when it is not compressed.
    """

    name: str
    size: int
    is_folder: bool
    open: Callable[[], IO[bytes]]
    offset: int = 0


def opened(archive: Path) -> IO[bytes]:
    """The file for reading; raises DataError where it is absent, no plain file or forbidden."""
    if not archive.is_file():  # a pipe would never end
        problem = "is not a file" if archive.exists() else "does not exist"
        raise DataError("missing-archive", f"{archive} {problem}", expected="an archive")
    try:
        return archive.open("rb")
    except OSError as error:
        message = f"Cannot read {archive}: {error.strerror}"
        raise DataError("missing-archive", message, expected="a readable archive") from error


def members(file: IO[bytes], archive: Path, limits: Limits, progress: Progress) -> Iterator[Member]:
    """The members in the archive's own order; each is to be read before the next is asked for.

    Args:
        file: the archive, at its start.
        archive: its name in errors.
        limits: of what is read; bytes of members that are passed over count, too.
        progress: called with (bytes done, bytes in all).

    Raises:
        DataError: the archive is of an unknown kind, damaged, encrypted or too large, or a member
            is neither a file nor a folder.
        EnvironmentFault: this Python lacks what unpacks it.
    """
    head, length = file.read(HEAD_BYTES), os.fstat(file.fileno()).st_size
    file.seek(0)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_members(file, archive, limits, progress)
    stream = _decompressed(file, head, archive)
    if stream is file and not (head[257:262] == b"ustar" or archive.name.lower().endswith(".tar")):
        if is_foreign_archive(archive.name, head):
            code, hint = "unsupported-archive", "Unpack it with its own tool, and use the folder."
        else:
            code, hint = "not-an-archive", "Its content is none: was it downloaded whole?"
        kinds = "a zip, tar, tar.gz, tar.bz2 or tar.xz file"
        raise DataError(code, f"{archive} can't be unpacked here", expected=kinds, hint=hint)
    source = _Source(stream, archive, limits, lambda: progress(file.tell(), length))
    return _tar_members(source, archive)


def _decompressed(file: IO[bytes], head: bytes, archive: Path) -> IO[bytes]:
    """The bytes behind a compression; the file itself where there is none."""
    try:
        if head.startswith(b"\x1f\x8b"):
            import gzip  # noqa: PLC0415 - a Python may have been built without any of the three

            return cast(IO[bytes], gzip.open(file))
        if head.startswith(b"BZh"):
            import bz2  # noqa: PLC0415

            return bz2.open(file)
        if head.startswith(b"\xfd7zXZ\x00"):
            import lzma  # noqa: PLC0415

            return lzma.open(file)
    except ImportError as error:
        message = f"This Python was built without what unpacks {archive}: {error}"
        raise EnvironmentFault("missing-package", message, hint=_REPACK) from error
    return file


def _zip_members(
    file: IO[bytes], archive: Path, limits: Limits, progress: Progress
) -> Iterator[Member]:
    with reading(archive):
        bundle = zipfile.ZipFile(file)
    entries = bundle.infolist()
    total, done = sum(entry.file_size for entry in entries), 0
    if total > limits.size:
        raise too_large(archive, limits)
    for entry in entries:
        name = _zip_name(entry, archive)
        kind = stat.S_IFMT(entry.external_attr >> 16) if entry.create_system == 3 else 0
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise refused(name, archive, "is a link or a device")
        if entry.flag_bits & 1:
            message = f"{archive} is encrypted"
            raise DataError("encrypted-archive", message, name[:120], "no password", _REPACK)
        if entry.compress_type not in _ZIP_METHODS:  # bzip2's and lzma's can take all memory
            raise refused(name, archive, "is packed by another method than deflate")
        yield Member(name, entry.file_size, name.endswith("/"), partial(bundle.open, entry))
        done += entry.file_size
        progress(done, total)


def _zip_name(entry: zipfile.ZipInfo, archive: Path) -> str:
    """An entry's name as it was written: zipfile itself cuts at NUL, and takes bytes for CP437."""
    name = entry.orig_filename
    if name.isascii() or entry.flag_bits & 0x800:
        return name
    try:
        return name.encode("cp437").decode("utf-8")
    except UnicodeError as error:
        raise refused(name, archive, "has a name that is not UTF-8 text") from error


class _Source:
    """A tar's bytes, read forward only: what a hostile header may ask of it is bounded."""

    def __init__(
        self, stream: IO[bytes], archive: Path, limits: Limits, progress: Callable[[], None]
    ) -> None:
        self._stream, self._archive, self._limits = stream, archive, limits
        self._progress, self._position = progress, 0
        self.last = b""

    def tell(self) -> int:
        """Bytes read or passed over so far."""
        return self._position

    def read(self, size: int) -> bytes:
        """The next bytes, fewer only at the end; `last` keeps them."""
        if not 0 <= size <= CHUNK:  # only a header that is made to fill memory asks for more
            raise damaged(self._archive, "a header is too long")
        with reading(self._archive):
            self.last = self._stream.read(size)
        self._position += len(self.last)
        if self._position > self._limits.size:
            raise too_large(self._archive, self._limits)
        self._progress()
        return self.last

    def seek(self, position: int) -> int:
        """Read up to a position further on, or to the end."""
        if position < self._position:  # tarfile would read the same for ever
            raise damaged(self._archive, "a header points backwards")
        while self._position < position and self.read(min(CHUNK, position - self._position)):
            pass
        return self._position


class _Skipping(_Source):
    """The same of a plain file, in which what lies between headers is not read."""

    def seek(self, position: int) -> int:
        """Go to a position further on."""
        if not self._position <= position <= self._limits.size:
            raise damaged(self._archive, "a header points beyond its end")
        with reading(self._archive):
            self._position = self._stream.seek(position)
        return self._position


def tar_members(file: IO[bytes], archive: Path) -> Iterator[Member]:
    """The members of a tar file that is not compressed, by their headers alone.

    Raises:
        DataError: it is none, is damaged or cut short, or a member is neither a file nor a folder.
    """
    limits = Limits(os.fstat(file.fileno()).st_size, "its own size", 0)
    return _tar_members(_Skipping(file, archive, limits, lambda: None), archive)


def _tar_members(source: _Source, archive: Path) -> Iterator[Member]:
    with reading(archive):
        try:
            bundle = tarfile.TarFile(fileobj=cast(IO[bytes], source))
        except tarfile.TarError as error:
            message = f"{archive} holds no tar file, or a damaged one"
            raise DataError("not-an-archive", message, expected="a zip or tar file") from error
    while True:
        with reading(archive):
            entry = bundle.next()
        if entry is None:
            break
        cast(Any, bundle).members.clear()  # a million of them are a gigabyte
        if not (entry.isreg() or entry.isdir()):
            linked = entry.issym() or entry.islnk()
            raise refused(entry.name, archive, "is a link" if linked else "is no file or folder")
        if entry.size < 0:
            raise damaged(archive, f"{entry.name[:120]!r} has a negative size")
        read = partial(_tar_file, bundle, entry)
        yield Member(entry.name, entry.size, entry.isdir(), read, entry.offset_data)
    _check_end(source, archive)


def _tar_file(bundle: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    return cast(IO[bytes], bundle.extractfile(entry))


def _check_end(source: _Source, archive: Path) -> None:
    """Only a block of zeros is an end; tarfile takes any that is no header for one."""
    if len(source.last) != _TAR_BLOCK or source.last.strip(b"\0"):
        raise damaged(archive, "it is cut short, or a header is damaged")
    while rest := source.read(CHUNK):  # to the end, so that checksums are verified
        if rest.strip(b"\0"):
            raise damaged(archive, "there is more after its end")


@contextmanager
def reading(archive: Path) -> Iterator[None]:
    """Turn any error that damaged bytes cause in the standard library into a DataError."""
    try:
        yield
    except _DAMAGE as error:
        raise damaged(archive, str(error) or type(error).__name__) from error


def damaged(archive: Path, problem: str) -> UserError:
    """The error of an archive that cannot be read to its end."""
    return DataError(
        "damaged-archive",
        f"{archive} is damaged or cut short: {problem}",
        expected="a whole archive",
        hint="Copy or download it again.",
    )


def refused(name: str, archive: Path, problem: str) -> UserError:
    """The error of a member that is not written; `problem` continues `a member ...`."""
    return DataError(
        "unsafe-member",
        f"{archive} is not unpacked: a member {problem}",
        got=name[:120],
        expected="files and folders with unique relative paths in UTF-8",
        hint=_REPACK,
    )


def too_large(archive: Path, limits: Limits) -> UserError:
    """The error of an archive that grows beyond the limit."""
    return DataError(
        "archive-too-large",
        f"{archive} grows to more than is allowed",
        expected=f"at most {limits.size / GIB:.2f} GiB ({limits.reason})",
        hint="If you trust the archive, allow more with --max-gb, on a disk that has the room.",
    )
