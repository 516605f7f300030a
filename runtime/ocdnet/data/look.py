"""A fast look at a set's labels, for a plan: the first files of each folder or list."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from ocdnet.data.datalist import list_datalist
from ocdnet.data.doubts import note_shared
from ocdnet.data.faults import as_one
from ocdnet.data.label_files import LabelFiles
from ocdnet.data.label_reader import LabelReader, read_set
from ocdnet.data.layout import file_names, is_image, is_split
from ocdnet.errors import DataError
from ocdnet.findings import Finding, collecting

LOOKED_AT = 200
"""Label files, and images, that are looked at."""
IGNORE_TAGS = ("*", "###")
"""The ignore tags of a spec that sets none."""
_LISTED = 200_000


def doubts(data: Path) -> list[str]:
    """What a reader of a set's labels would stumble over, or warn of, a sentence each.

    Args:
        data: a split folder or a datalist.
    """
    found: list[str] = []
    try:
        pairs = list(_pairs(data, found)) if data.is_dir() else list_datalist(data, LOOKED_AT)
    except DataError as error:
        return [_stops(error)]
    with collecting() as seen:
        reader, errors = read_set(pairs, partial(LabelReader, IGNORE_TAGS), _read)
        reader.doubts.note("data_path")
        note_shared(pairs, "data_path")
    if errors:
        found.insert(0, _stops(as_one(errors, len(pairs))))
    return [*found, *map(_short, seen.rows())]


def _read(reader: LabelReader, pair: tuple[str, str]) -> None:
    reader.read(*pair)


def _short(row: Finding) -> str:
    """A finding with one of its files: a plan is short."""
    more = ", ..." if len(row.files) > 1 else ""
    return f"{row.message} ({row.count}): {row.files[0]}{more}" if row.files else row.text


def _stops(error: DataError) -> str:
    hint = f" {error.hint}" if error.hint else ""
    return f"{error.message}. Training and evaluation stop there.{hint}"


def _pairs(split: Path, found: list[str]) -> Iterator[tuple[str, str]]:
    """The first images of a split folder with their labels; `found` is told of missing ones."""
    if not is_split(split):
        return
    names = sorted(islice(file_names(split / "gt"), _LISTED))
    files = LabelFiles(split, names)
    images = sorted(filter(is_image, islice(file_names(split / "img"), _LISTED)))[:LOOKED_AT]
    alone = [name for name in images if files.find(name) is None]
    for name in images:
        if label := files.find(name):
            yield str(split / "img" / name), str(split / "gt" / label)
    if alone:
        found.append(
            f"{len(alone)} of the first {len(images)} images of {split}/img have no label file, "
            f"e.g. {alone[0]}. {files.hint(alone[0])}"
        )
