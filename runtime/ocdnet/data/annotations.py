"""Reading datasets: split folders and datalists, held in a few arrays."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from ocdnet.data.faults import as_one
from ocdnet.data.label_reader import LabelReader, Region, read_set
from ocdnet.data.layout import IMAGE_SUFFIXES
from ocdnet.data.listing import LAYOUT, list_pairs
from ocdnet.data.readings import Reading
from ocdnet.errors import DataError
from ocdnet.geometry import Polygon, is_valid
from ocdnet.spec_keys import VALIDATE_DATA

_LOG = logging.getLogger("ocdnet")


@dataclass(frozen=True, slots=True)
class Annotation:
    """One image and its text instances.

    Attributes:
        image: path of the image file.
        label: path of the label file.
        polygons: K arrays float32[N, 2], N >= 4: x, y in pixels of the original image, in the
            file's own order (winding is kept; corners of a quad that crosses itself are put in
            order).
        ignore: bool[K], true for instances that neither train nor count.
        texts: K transcriptions.
        shown: what results call the image; empty: its path.
    """

    image: Path
    label: Path
    polygons: list[Polygon]
    ignore: NDArray[np.bool_]
    texts: list[str]
    shown: str = ""

    @property
    def name(self) -> str:
        """What results call the image."""
        return self.shown or str(self.image)


@dataclass(slots=True)
class Census:
    """What a dataset holds: images, text regions, and those of them that are ignored, by reason."""

    images: int = 0
    regions: int = 0
    tagged: int = 0
    """Ignored, since the transcription is one of the ignore tags."""
    flat: int = 0
    """Ignored, since the polygon has no area."""

    @property
    def cared(self) -> int:
        """Regions that train and count."""
        return self.regions - self.tagged - self.flat

    def __str__(self) -> str:
        ignored = self.regions - self.cared
        why = f": {self.tagged} by ignore_tags, {self.flat} without area" if ignored else ""
        return f"{self.images} images with {self.regions} text regions ({ignored} ignored{why})"


class Annotations(Sequence[Annotation]):
    """The annotations of a dataset in a few flat buffers; an Annotation is made when asked for.

    As Python objects, those of 100,000 images would take 400 MB, and as much again in each worker:
    Python counts references inside an object, so even reading it copies its page of shared memory.

    Attributes:
        census: of all annotations.
    """

    def __init__(self) -> None:
        self.census = Census()
        self._points = array("f")
        self._ignore = bytearray()
        self._strings = bytearray()  # of each image: image, label, transcriptions
        self._point_ends, self._string_ends = array("q", [0]), array("q", [0])
        self._region_ends = array("q", [0])

    def add(self, image: str, label: str, regions: Sequence[Region]) -> None:
        """Append the annotation of an image."""
        self._add_string(image)
        self._add_string(label)
        for values, text, tagged, flat in regions:
            self._points.fromlist(values)
            self._point_ends.append(len(self._points))
            self._add_string(text)
            self._ignore.append(tagged or flat)
            self.census.tagged += tagged
            self.census.flat += flat
        self._region_ends.append(len(self._ignore))
        self.census.images += 1
        self.census.regions += len(regions)

    def extend(self, other: Annotations) -> None:
        """Append all annotations of another dataset."""
        pairs = (
            (self._point_ends, other._point_ends, len(self._points)),
            (self._string_ends, other._string_ends, len(self._strings)),
            (self._region_ends, other._region_ends, len(self._ignore)),
        )
        for ends, more, shift in pairs:
            ends.extend(end + shift for end in more[1:])
        self._points += other._points
        self._strings += other._strings
        self._ignore += other._ignore
        for count in fields(Census):
            total = getattr(self.census, count.name) + getattr(other.census, count.name)
            setattr(self.census, count.name, total)

    def _add_string(self, text: str) -> None:
        self._strings += text.encode()
        self._string_ends.append(len(self._strings))

    def __len__(self) -> int:
        return len(self._region_ends) - 1

    @overload
    def __getitem__(self, index: int) -> Annotation: ...
    @overload
    def __getitem__(self, index: slice) -> list[Annotation]: ...
    def __getitem__(self, index: int | slice) -> Annotation | list[Annotation]:
        """One annotation, or a list of them for a slice."""
        number = range(len(self))[index]
        return self._one(number) if isinstance(number, int) else [self._one(i) for i in number]

    def _one(self, index: int) -> Annotation:
        first, last = self._region_ends[index : index + 2]
        ends = self._string_ends[first + 2 * index : last + 2 * index + 3]
        image, label, *texts = (self._strings[start:end].decode() for start, end in pairwise(ends))
        ends = self._point_ends[first : last + 1]
        points = np.array(self._points[ends[0] : ends[-1]], np.float32).reshape(-1, 2)
        cuts = np.array(ends[1:-1], np.int64) // 2 - ends[0] // 2
        polygons = np.split(points, cuts) if texts else []
        ignore = np.array(list(self._ignore[first:last]), np.bool_)
        return Annotation(Path(image), Path(label), polygons, ignore, texts)


def index_dataset(
    data_paths: Sequence[str | Path], ignore_tags: Sequence[str], key: str = VALIDATE_DATA
) -> Annotations:
    """Read every label of a dataset; of images only the headers are read, for their sizes.

    Each entry of `data_paths` is a split folder (`img/`, `gt/`; labels by LABEL_NAMES; images in
    natural order), a folder of tar files (`tar_pairs`) or a UTF-8 datalist (a line: image and
    label, paths relative to the list, separated by a tab, else by the blanks after an image
    suffix). Entries are concatenated in the order given; the form of an entry's lines is decided
    from all of them (`readings`). An image whose label file is empty is kept. What was mended or is
    doubtful is noted with its files.

    Args:
        data_paths: folders and lists.
        ignore_tags: transcriptions of regions to ignore.
        key: spec key of the paths, for what is noted.

    Raises:
        DataError: a path is empty, absent, an archive or neither layout; an image or a label is
            missing; a label can't be read; nothing was found. Of several bad files the first is
            the error, which lists ten of them and says how many there are.
    """
    if not data_paths:
        raise DataError(
            "no-data-path",
            "No data path is given",
            got=[],
            expected=LAYOUT,
            hint="Set dataset.train_dataset.data_path or dataset.validate_dataset.data_path.",
        )
    # All are listed before a label is read: a wrong path is an error at once.
    listed = [list_pairs(entry, key) for entry in data_paths]
    annotations, errors = Annotations(), []
    for pairs in listed:
        found, bad = _read_set(pairs, frozenset(ignore_tags), key)
        annotations.extend(found)
        errors += bad
    if errors:
        raise as_one(errors, len(errors) + len(annotations))
    where, census = ", ".join(map(str, data_paths)), annotations.census
    if not annotations:
        raise DataError(
            "empty-dataset",
            f"No image was found in {where}",
            got="0 images",
            expected=f"images ({' '.join(sorted(IMAGE_SUFFIXES))}) with label files",
        )
    if census.regions and not census.cared:
        text = "Every text region is ignored in %s: %s; ignore_tags is %s"
        _LOG.warning(text, where, census, list(ignore_tags))
    return annotations


def _read_set(
    pairs: Iterable[tuple[str, str]], tags: frozenset[str], key: str
) -> tuple[Annotations, list[DataError]]:
    """The annotations of a data path, and the errors of its bad files."""
    annotations = Annotations()

    def start(reading: Reading) -> LabelReader:
        nonlocal annotations
        annotations = Annotations()
        return LabelReader(tags, reading, is_sound)

    def read(reader: LabelReader, pair: tuple[str, str]) -> None:
        annotations.add(*pair, reader.read(*pair))

    reader, errors = read_set(pairs, start, read)
    reader.doubts.note(key)
    return annotations, errors


def is_sound(values: list[float]) -> bool:
    """Whether the polygon x1, y1, ... counts in evaluation."""
    return is_valid(np.array(values).reshape(-1, 2))
