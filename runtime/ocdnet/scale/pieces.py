"""From sources to pieces: what one partition of a run reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ocdnet import findings
from ocdnet.data.folders import is_beside, note_folder, note_other
from ocdnet.data.layout import is_picture
from ocdnet.data.remote import is_url
from ocdnet.errors import DataError
from ocdnet.runs.files import EXPERIMENT, STATUS
from ocdnet.scale.storage import absolute, entries_of, full_name, opened, reaching

RUN = "_run.json"
"""The file that makes a folder one of results: listings leave it out."""
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
PARQUET = ".parquet"
_PATHS = ("path", "uri", "url", "image_path", "file_name", "filename", "file", "image", "key")
_MAGIC = re.compile(r"[*?\[]")


Kind = Literal["pictures", "paths", "bytes", "tar"]


@dataclass(frozen=True)
class Piece:
    """What one partition reads.

    Attributes:
        kind: pictures by their URIs; rows of a Parquet file that hold paths, or the pictures'
            bytes; a tar.
        uris: of the pictures; else of the one file.
        column: of the rows.
        group: the Parquet file's row group.
        first: the file's row that the group begins with.
        start: first row in the group.
        stop: row behind the last one.
    """

    kind: Kind
    uris: tuple[str, ...]
    column: str = ""
    group: int = 0
    first: int = 0
    start: int = 0
    stop: int = 0

    @property
    def shown(self) -> str:
        """For people."""
        if self.kind in ("paths", "bytes"):
            start, stop = self.first + self.start, self.first + self.stop
            return f"rows {start} to {stop - 1} of {self.uris[0]}"
        return " to ".join(dict.fromkeys((self.uris[0], self.uris[-1])))

    def line(self) -> bytes:
        """As a line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":")).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> Piece:
        """From a line of JSON."""
        values: dict[str, Any] = json.loads(line)
        return cls(**values | {"uris": tuple(values["uris"])})


def pieces(sources: Sequence[str], recursive: bool, size: int, key: str = "") -> Iterator[Piece]:
    """The pieces of sources, in the order of the listing; the same for the same files.

    Args:
        sources: paths, URIs or patterns of pictures, Parquet files, tars, and folders of them.
        recursive: look into sub-folders, too.
        size: pictures, or rows, that a piece has at most; a tar is always one piece.
        key: option or spec key that lets sub-folders be searched.

    Raises:
        DataError: a source is missing, or a Parquet file has no column of pictures.
    """
    waiting: list[str] = []
    for uri in _files(sources, recursive, key):
        name = uri.lower()
        if name.endswith(PARQUET):
            yield from _row_pieces(uri, size)
        elif name.endswith(TARS):
            yield Piece("tar", (uri,))
        else:
            waiting.append(uri)
        if len(waiting) == size:
            yield Piece("pictures", tuple(waiting))
            waiting = []
    if waiting:
        yield Piece("pictures", tuple(waiting))


def _files(sources: Sequence[str], recursive: bool, key: str) -> Iterator[str]:
    """Each file once; what was seen is kept only where sources may overlap."""
    different = list(dict.fromkeys(map(_source, sources)))
    seen: set[str] = set()
    for source in different:
        empty = True
        for uri in _files_of(source, recursive, key):
            empty = False
            if len(different) > 1:
                if uri in seen:
                    continue
                seen.add(uri)
            yield uri
        if empty:
            note_empty(source)


def note_empty(source: str) -> None:
    """Note a source that has no pictures."""
    findings.note("no-images", "Sources hold no images", file=source)


def _source(source: str) -> str:
    return source if is_url(source) else absolute(source)


def _files_of(source: str, recursive: bool, key: str) -> Iterator[str]:
    if is_url(source):
        yield source
        return
    fs, path = opened(source)
    with reaching(source):
        if fs.isdir(path):
            yield from _walk(fs, path, recursive, key)
        elif fs.exists(path):
            yield source
        elif matching := _matching(fs, path, recursive):
            for file in matching:
                if is_source(file.rpartition("/")[2]):
                    yield full_name(fs, file)
                else:
                    note_other(full_name(fs, file))
        else:
            raise DataError(
                "no-such-source",
                f"There is no file, folder or match of {source}",
                got=source,
                expected="pictures, Parquet files, tars, folders of them, or patterns in quotes",
            )


def _matching(fs: Any, pattern: str, recursive: bool) -> list[str]:
    """The files that a pattern matches; it stands for no folders and no hidden files."""
    if not _MAGIC.search(pattern):
        return []
    depth = {} if recursive else {"maxdepth": pattern.count("/") + 1}
    found = fs.glob(pattern, detail=True, **depth)
    files = (name for name, entry in found.items() if entry["type"] != "directory")
    return sorted(name for name in files if not name.rpartition("/")[2].startswith("."))


def _walk(fs: Any, path: str, recursive: bool, key: str) -> Iterator[str]:
    """Folder by folder, so that no more than one folder's names are held."""
    entries = entries_of(fs, path)
    found = {entry["name"].rstrip("/"): entry["type"] for entry in entries}
    names = {name: name.rpartition("/")[2] for name in sorted(found)}
    there = set(names.values())
    if RUN in there or {EXPERIMENT, STATUS} <= there:
        return
    for file, name in names.items():
        if found[file] == "directory":
            continue
        if is_source(name):
            yield full_name(fs, file)
        elif not is_beside(name):
            note_other(full_name(fs, file))
    for folder, name in names.items():
        if found[folder] != "directory" or name.startswith("."):
            continue
        if recursive:
            yield from _walk(fs, folder, recursive, key)
        else:
            note_folder(full_name(fs, folder), key)


def is_source(name: str) -> bool:
    """Whether a file of this name holds pictures."""
    others = name.lower().endswith((PARQUET, *TARS)) and not name.startswith(".")
    return others or is_picture(name)


def _row_pieces(uri: str, size: int) -> Iterator[Piece]:
    from pyarrow.parquet import ParquetFile  # noqa: PLC0415 (an extra)

    fs, path = opened(uri)
    with reaching(uri), fs.open(path, "rb") as file:
        table = ParquetFile(file)
        kind, column = _picture_column(table.schema_arrow, uri)
        if not table.metadata.num_rows:
            note_empty(uri)
        first = 0
        for group in range(table.num_row_groups):
            rows = table.metadata.row_group(group).num_rows
            for start in range(0, rows, size):
                yield Piece(kind, (uri,), column, group, first, start, min(start + size, rows))
            first += rows


def _picture_column(schema: Any, uri: str) -> tuple[Kind, str]:
    """The column of a Parquet file that holds pictures: bytes, bytes in a struct, else paths."""
    from pyarrow import types  # noqa: PLC0415 (an extra)

    def holds(kind: Any, *names: str) -> bool:
        kind = kind.value_type if types.is_dictionary(kind) else kind
        return any(getattr(types, f"is_{name}")(kind) for name in names)

    binary = ("binary", "large_binary", "binary_view")
    structs = [f.name for f in schema if types.is_struct(f.type) and "bytes" in f.type.names]
    of_bytes = [f.name for f in schema if f.name in structs or holds(f.type, *binary)]
    text = {f.name for f in schema if holds(f.type, "string", "large_string", "string_view")}
    of_paths = [f for name in _PATHS for f in sorted(text) if f.lower() == name]
    found = of_bytes or of_paths
    if not found:
        raise DataError(
            "no-picture-column",
            f"{uri} has no column of pictures",
            got=list(schema.names),
            expected=f"a column of bytes, or one of paths named {', '.join(_PATHS)}",
        )
    if len(found) > 1:
        message = f"Of the columns {', '.join(found)} of Parquet files only {found[0]} was read"
        findings.note("other-columns", message, file=uri)
    column = f"{found[0]}.bytes" if found[0] in structs else found[0]
    return ("bytes" if of_bytes else "paths"), column
