"""From sources to pieces: what one partition of a run reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ocdnet import findings
from ocdnet.data.layout import PDF, is_image
from ocdnet.data.remote import is_url
from ocdnet.errors import DataError
from ocdnet.scale.storage import absolute, full_name, opened, reaching

RUN = "_run.json"
"""The file that makes a folder one of results: listings leave it out."""
TARS = (".tar", ".tar.gz", ".tgz")
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


def pieces(sources: Sequence[str], recursive: bool, size: int) -> Iterator[Piece]:
    """The pieces of sources, in the order of the listing; the same for the same files.

    Args:
        sources: paths, URIs or patterns of pictures, Parquet files, tars, and folders of them.
        recursive: look into sub-folders, too.
        size: pictures, or rows, that a piece has at most; a tar is always one piece.

    Raises:
        DataError: a source is missing, or a Parquet file has no column of pictures.
    """
    waiting: list[str] = []
    for uri in _files(sources, recursive):
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


def _files(sources: Sequence[str], recursive: bool) -> Iterator[str]:
    """Each file once; what was seen is kept only where sources may overlap."""
    different = list(dict.fromkeys(map(_source, sources)))
    seen: set[str] = set()
    for source in different:
        empty = True
        for uri in _files_of(source, recursive):
            empty = False
            if len(different) > 1:
                if uri in seen:
                    continue
                seen.add(uri)
            yield uri
        if empty:
            findings.note("no-images", "Sources hold no images", file=source)


def _source(source: str) -> str:
    return source if is_url(source) else absolute(source)


def _files_of(source: str, recursive: bool) -> Iterator[str]:
    if is_url(source):
        yield source
        return
    fs, path = opened(source)
    with reaching(source):
        if fs.isdir(path):
            for file in _walk(fs, path, recursive):
                yield full_name(fs, file)
        elif fs.exists(path):
            yield source
        elif _MAGIC.search(path):
            depth = {} if recursive else {"maxdepth": path.count("/") + 1}
            yield from (full_name(fs, file) for file in sorted(fs.glob(path, **depth)))
        else:
            raise DataError(
                "no-such-source",
                f"There is no file, folder or match of {source}",
                got=source,
                expected="pictures, Parquet files, tars, folders of them, or patterns in quotes",
            )


def _walk(fs: Any, path: str, recursive: bool) -> Iterator[str]:
    """Folder by folder, so that no more than one folder's names are held."""
    found = {entry["name"].rstrip("/"): entry["type"] for entry in fs.ls(path, detail=True)}
    names = {name: name.rpartition("/")[2] for name in sorted(found) if name != path.rstrip("/")}
    if RUN in names.values():
        return
    for file, name in names.items():
        if found[file] != "directory" and _is_source(name):
            yield file
    for folder, name in names.items() if recursive else ():
        if found[folder] == "directory" and not name.startswith("."):
            yield from _walk(fs, folder, recursive)


def _is_source(name: str) -> bool:
    others = name.lower().endswith((PDF, PARQUET, *TARS)) and not name.startswith(".")
    return others or is_image(name)


def _row_pieces(uri: str, size: int) -> Iterator[Piece]:
    from pyarrow.parquet import ParquetFile  # noqa: PLC0415 (an extra)

    fs, path = opened(uri)
    with reaching(uri), fs.open(path, "rb") as file:
        table = ParquetFile(file)
        kind, column = _picture_column(table.schema_arrow, uri)
        first = 0
        for group in range(table.num_row_groups):
            rows = table.metadata.row_group(group).num_rows
            for start in range(0, rows, size):
                yield Piece(kind, (uri,), column, group, first, start, min(start + size, rows))
            first += rows


def _picture_column(schema: Any, uri: str) -> tuple[Kind, str]:
    """The column of a Parquet file that holds pictures: bytes, bytes in a struct, else paths."""
    from pyarrow import types  # noqa: PLC0415 (an extra)

    text = {f.name for f in schema if types.is_string(f.type) or types.is_large_string(f.type)}
    for field in schema:
        kind = field.type
        if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            return "bytes", f"{field.name}.bytes"
        if types.is_binary(kind) or types.is_large_binary(kind):
            return "bytes", str(field.name)
    for name in _PATHS:
        if name in text:
            return "paths", name
    raise DataError(
        "no-picture-column",
        f"{uri} has no column of pictures",
        got=list(schema.names),
        expected=f"a column of bytes, or one of paths named {', '.join(_PATHS)}",
    )
