"""The pictures of a piece, fetched ahead of the network into files that go when they are done."""

from __future__ import annotations

import lzma
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat, takewhile
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, Self, TypeAlias, cast

from ocdnet.actions.page_loop import Picture
from ocdnet.backends.pipeline import ordered
from ocdnet.data.folders import is_beside, note_other
from ocdnet.data.layout import is_picture
from ocdnet.data.reading import most_bytes, pages_of
from ocdnet.data.remote import download, is_url
from ocdnet.errors import DataError, printable
from ocdnet.files import disk_full
from ocdnet.scale.parts import UNREACHED
from ocdnet.scale.pieces import Piece, note_empty
from ocdnet.scale.storage import faults, is_local, opened

_AHEAD = 16
"""Pictures that are fetched before the network wants them, and threads that fetch them."""
_LONGEST_SUFFIX = 6
_ROWS = 64
"""Rows of a Parquet file that are held at a time."""


class Fetched(NamedTuple):
    """A picture's file on this machine.

    Attributes:
        image: what its row calls it.
        path: the file.
        error: why it could not be fetched.
    """

    image: str
    path: Path
    error: DataError | None = None


_Reader: TypeAlias = Callable[[Piece, Path], Iterator[Fetched]]


def pictures_of(piece: Piece, scratch: Path) -> Iterator[Picture]:
    """The pictures of a piece in its order; pages of documents are pictures.

    What is wrong with one of them, or with the rest of a file, is a picture with an error.

    Args:
        piece: what to read.
        scratch: an empty folder for what is fetched.
    """
    return chain.from_iterable(map(_pages, _READERS[piece.kind](piece, scratch)))


def _pages(file: Fetched) -> Iterator[Picture]:
    for page in pages_of(file.path):
        yield Picture(page, printable(file.image), Path(), file.error)


def files_of(uris: Iterable[str], scratch: Path) -> Iterator[Fetched]:
    """Files by their paths and URIs, in their order; of documents, too, one file each."""

    def fetch(numbered: tuple[int, str]) -> Fetched:
        number, uri = numbered
        return _fetch(uri, scratch / f"{number}{_suffix(uri)}")

    with ThreadPoolExecutor(_AHEAD) as pool:
        yield from ordered(lambda one: pool.submit(fetch, one), enumerate(uris), _AHEAD)


def _fetch(uri: str, target: Path) -> Fetched:
    try:
        if is_url(uri):
            download(uri, target, most=most_bytes())
        elif is_local(uri):
            return Fetched(uri, Path(opened(uri)[1]))
        else:
            fs, path = opened(uri)
            fs.get_file(path, os.fspath(target))
    except DataError as error:
        return Fetched(uri, target, error)
    except faults() as error:
        return Fetched(uri, target, _not_fetched(uri, error))
    return Fetched(uri, target)


def _not_fetched(uri: str, error: Exception) -> DataError:
    missing = isinstance(error, FileNotFoundError)
    reason = "it is not there" if missing else f"{type(error).__name__}: {error}"[:200]
    code = UNREACHED if _may_come_back(error) else "cannot-fetch"
    return DataError(code, f"Cannot fetch {uri}: {reason}", expected="a file to read")


def _may_come_back(error: Exception) -> bool:
    """Whether it is a matter of the store or the way to it, not of the file.

    Those have a number of the system, or are a client's own; damaged files give OSErrors without.

    Raises:
        UserError: this machine's disk is full.
    """
    if fault := disk_full(error):
        raise fault from error
    if isinstance(error, OSError):
        return error.errno is not None and not isinstance(error, FileNotFoundError)
    return isinstance(error, faults())


def _suffix(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    return suffix if len(suffix) <= _LONGEST_SUFFIX and suffix[1:].isalnum() else ""


def _ahead(files: Iterator[Fetched]) -> Iterator[Fetched]:
    """The same, read in a thread a few files ahead."""
    with ThreadPoolExecutor(1) as pool:
        read = ordered(lambda _: pool.submit(next, files, None), repeat(None), _AHEAD)
        yield from cast("Iterator[Fetched]", takewhile(lambda file: file is not None, read))


def _whole(piece: Piece, scratch: Path, read: _Reader) -> Iterator[Fetched]:
    """What a reader yields; where the file breaks off, its own error is the last."""
    try:
        yield from read(piece, scratch)
    except _broken() as error:
        uri = piece.uris[0]
        reason = f"{type(error).__name__}: {error}"[:200]
        again = _may_come_back(error)
        problem = DataError(
            UNREACHED if again else "broken-source",
            f"The rest of {uri} cannot be read: {reason}",
            expected="a whole file",
            hint=None if again else "Replace it, and run into a new folder.",
        )
        yield Fetched(uri, scratch / "none", problem)


def _broken() -> tuple[type[Exception], ...]:
    """What readers of tars and of Parquet (ValueError) raise."""
    return (*faults(), ValueError, EOFError, tarfile.TarError, zlib.error, lzma.LZMAError)


class _Member(tarfile.TarInfo):
    """A member whose header must be whole: tarfile takes a damaged one for the archive's end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile, /) -> Self:
        """The next member; at the end mark the error that tarfile knows it by."""
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":  # of no public name
                raise
            raise tarfile.ReadError(f"no end mark at byte {archive.offset:,}: {error}") from error


def _of_tar(piece: Piece, scratch: Path) -> Iterator[Fetched]:
    uri = piece.uris[0]
    fs, path = opened(uri)
    with (
        fs.open(path, "rb") as file,
        tarfile.open(fileobj=file, mode="r|*", tarinfo=_Member) as archive,
    ):
        empty = True
        for number, member in enumerate(archive):
            name = PurePosixPath(member.name).name
            if member.isdir() or not is_picture(name):
                if not (member.isdir() or is_beside(name)):
                    note_other(f"{uri}#{member.name}")
                continue
            empty = False
            image, target = f"{uri}#{member.name}", scratch / f"{number}{_suffix(name)}"
            if not member.isfile():
                yield Fetched(image, target, _no_file(image))
            elif member.size > most_bytes():
                yield Fetched(image, target, _too_large(image, member.size))
            else:
                with target.open("wb") as copy:
                    shutil.copyfileobj(cast("IO[bytes]", archive.extractfile(member)), copy)
                yield Fetched(image, target)
    if empty:
        note_empty(uri)


def _no_file(image: str) -> DataError:
    return DataError(
        "no-file",
        f"{image} is a link or a device",
        expected="a tar of files",
        hint="tar --dereference --hard-dereference packs what links lead to.",
    )


def _too_large(image: str, size: int) -> DataError:
    return DataError(
        "image-too-large",
        f"{image} holds more bytes than the largest picture",
        got=f"{size:,} bytes",
        expected=f"{most_bytes():,} bytes at most",
    )


def _of_bytes(piece: Piece, scratch: Path) -> Iterator[Fetched]:
    for row, content in _values(piece):
        image, target = f"{piece.uris[0]}#{row}", scratch / str(row)
        if content is None:
            yield Fetched(image, target, _no_value(image, piece.column))
        elif len(content) > most_bytes():
            yield Fetched(image, target, _too_large(image, len(content)))
        else:
            target.write_bytes(content)
            yield Fetched(image, target)


def _of_paths(piece: Piece, scratch: Path) -> Iterator[Fetched]:
    uri = piece.uris[0]
    rows = list(_values(piece))
    below = uri.rpartition("/")[0]
    paths = [value if _is_whole(value) else f"{below}/{value}" for _, value in rows if value]
    listed = files_of(paths, scratch)
    for row, value in rows:
        image = f"{uri}#{row}"
        yield next(listed) if value else Fetched(image, scratch, _no_value(image, piece.column))


def _is_whole(path: str) -> bool:
    return "://" in path or path.startswith("/")


def _no_value(image: str, column: str) -> DataError:
    return DataError(
        "no-value", f"{image} holds nothing in the column {column}", expected="a picture"
    )


def _values(piece: Piece) -> Iterator[tuple[int, Any]]:
    """Row number in the file, and value, of the piece's rows."""
    from pyarrow.parquet import ParquetFile  # noqa: PLC0415 (an extra)

    fs, path = opened(piece.uris[0])
    name, _, inner = piece.column.partition(".")
    row = 0
    with fs.open(path, "rb") as file:
        batches = ParquetFile(file).iter_batches(
            _ROWS, row_groups=[piece.group], columns=[piece.column]
        )
        for batch in batches:
            for value in batch.column(name):
                if piece.start <= row < piece.stop:
                    plain = value.as_py()
                    yield piece.first + row, plain[inner] if inner and plain else plain
                row += 1
            if row >= piece.stop:
                return


_READERS: dict[str, _Reader] = {
    "pictures": lambda piece, scratch: files_of(piece.uris, scratch),
    "paths": lambda piece, scratch: _whole(piece, scratch, _of_paths),
    "bytes": lambda piece, scratch: _ahead(_whole(piece, scratch, _of_bytes)),
    "tar": lambda piece, scratch: _ahead(_whole(piece, scratch, _of_tar)),
}
