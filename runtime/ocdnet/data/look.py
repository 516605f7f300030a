"""Looking at a set's labels: all of them for `data check`, the first of a folder for a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

from ocdnet.data.datalist import list_datalist
from ocdnet.data.doubts import note_shared
from ocdnet.data.faults import as_one
from ocdnet.data.label_files import LabelFiles
from ocdnet.data.label_reader import LabelReader, Region, read_set
from ocdnet.data.layout import file_names, is_image, is_split
from ocdnet.data.measures import Measures
from ocdnet.data.picture_header import PictureSize
from ocdnet.data.readings import Reading
from ocdnet.errors import DataError
from ocdnet.findings import Finding, collecting

LOOKED_AT = 200
"""Label files, and images, that are looked at for a plan."""
IGNORE_TAGS = ("*", "###")
"""The ignore tags of a spec that sets none."""
_LISTED = 200_000


class Counting(Protocol):
    """What counts the pictures of a set."""

    def see(self, image: str, regions: list[Region], size: PictureSize | None) -> None:
        """Count a picture; its size is given where it has been looked up already."""


C = TypeVar("C", bound=Counting)


def look(
    pairs: Iterable[tuple[str, str]],
    counting: Callable[[], C],
    tags: Iterable[str] = IGNORE_TAGS,
    is_sound: Callable[[list[float]], bool] | None = None,
    key: str = "data_path",
) -> tuple[C, list[DataError]]:
    """Read the labels of a set, and note what is doubtful in them.

    Args:
        pairs: image and label file; gone through a second time where the lines turn out to have
            another form than ICDAR2015's.
        counting: makes what counts them; the one of the last reading is returned.
        tags: transcriptions of regions to ignore.
        is_sound: as of `LabelReader`.
        key: of the set, for what is noted.

    Returns:
        What has counted, and the errors of the files that can't be read.
    """
    counts = counting()

    def start(reading: Reading) -> LabelReader:
        nonlocal counts
        counts = counting()
        return LabelReader(tags, reading, is_sound)

    def read(reader: LabelReader, pair: tuple[str, str]) -> None:
        regions = reader.read(*pair)
        counts.see(pair[0], regions, reader.doubts.size)

    reader, errors = read_set(pairs, start, read)
    reader.doubts.note(key)
    return counts, errors


def doubts(data: Path) -> list[str]:
    """What a reader of a set's first labels would stumble over, or warn of, a sentence each.

    Args:
        data: a split folder or a datalist.
    """
    found: list[str] = []
    try:
        pairs = list(_pairs(data, found)) if data.is_dir() else list_datalist(data, LOOKED_AT)
    except DataError as error:
        return [_stops(error)]
    with collecting() as seen:
        _, errors = look(pairs, Measures)
        note_shared(pairs, "data_path")
    if errors:
        found.insert(0, _stops(as_one(errors, len(pairs))))
    return [*found, *map(_short, seen.rows())]


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
