"""Reading datasets: split folders and datalists, held in a few arrays."""

from __future__ import annotations

import logging
import os
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from ocdnet.data.folders import note_folders, scan
from ocdnet.data.labels import has_area, instances, read_text
from ocdnet.data.layout import HEAD_BYTES, IMAGE_SUFFIXES, LABEL_NAMES, file_names, is_archive
from ocdnet.errors import DataError, printable
from ocdnet.files import is_folder, open_regular
from ocdnet.geometry import Polygon

_SPLIT_AFTER_IMAGE = re.compile(
    r"^(.*?(?:" + "|".join(re.escape(s) for s in sorted(IMAGE_SUFFIXES)) + r"))\s+(\S.*)$",
    re.IGNORECASE,
)
_T = TypeVar("_T")
_R = TypeVar("_R")
_LOG = logging.getLogger("ocdnet")
_DATALIST_BYTES = 1 << 28
_SHOWN = 10
_LAYOUT = "a split folder with img/ and gt/, or a UTF-8 datalist file"


@dataclass(frozen=True, slots=True)
class Annotation:
    """One image and its text instances.

    Attributes:
        image: path of the image file.
        label: path of the label file.
        polygons: K arrays float32[N, 2], N >= 4: x, y in pixels of the original image, in the
            file's own order (winding and self-crossing are kept).
        ignore: bool[K], true for instances that neither train nor count.
        texts: K transcriptions.
    """

    image: Path
    label: Path
    polygons: list[Polygon]
    ignore: NDArray[np.bool_]
    texts: list[str]


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

    def add(self, image: str, label: str, ignore_tags: frozenset[str]) -> None:
        """Read a label file and append its annotation.

        Raises:
            DataError: as `instances`; then nothing is appended.
        """
        regions = list(instances(label))
        self._add_string(image)
        self._add_string(label)
        for values, text in regions:
            self._points.fromlist(values)
            self._point_ends.append(len(self._points))
            self._add_string(text)
            tagged = text in ignore_tags
            flat = not tagged and not has_area(values)
            self._ignore.append(tagged or flat)
            self.census.tagged += tagged
            self.census.flat += flat
        self._region_ends.append(len(self._ignore))
        self.census.images += 1
        self.census.regions += len(regions)

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


def index_dataset(data_paths: Sequence[str | Path], ignore_tags: Sequence[str]) -> Annotations:
    """Read every label of a dataset; images are only checked to exist.

    Each entry of `data_paths` is a split folder (`img/`, `gt/`; labels by LABEL_NAMES; images in
    natural order) or a UTF-8 datalist (a line: image and label, paths relative to the list,
    separated by a tab, else by the blanks after an image suffix). Entries are concatenated in the
    order given. An image whose label file is empty is kept. Label files that belong to no image,
    and a dataset in which every region is ignored, are warned of in the log.

    Raises:
        DataError: a path is empty, absent, an archive or neither layout; an image or a label is
            missing; a label can't be read; nothing was found. Of several bad files the first is
            the error, and it says how many more there are.
    """
    if not data_paths:
        raise DataError(
            "no-data-path",
            "No data path is given",
            got=[],
            expected=_LAYOUT,
            hint="Set dataset.train_dataset.data_path or dataset.validate_dataset.data_path.",
        )
    # All are listed before a label is read: a wrong path is an error at once.
    listed = [_list_pairs(entry) for entry in data_paths]
    annotations, tags = Annotations(), frozenset(ignore_tags)
    _collect(lambda pair: annotations.add(*pair, tags), chain.from_iterable(listed))
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


def _collect(read: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
    """Read all items; where some fail, raise the first error and say how many more there are."""
    results: list[_R] = []
    errors: list[DataError] = []
    for item in items:
        try:
            results.append(read(item))
        except DataError as error:
            errors.append(error)
    if len(errors) > 1:
        first = errors[0]
        more = f"{first.message} (and {len(errors) - 1} more files or lines with errors)"
        raise DataError(first.code, more, first.got, first.expected, first.hint) from first
    if errors:
        raise errors[0]
    return results


def _list_pairs(entry: str | Path) -> Iterable[tuple[str, str]]:
    """Image and label paths of one data path."""
    path = Path(entry)
    if not str(entry).strip():
        raise DataError("no-data-path", "A data path is empty", got=str(entry), expected=_LAYOUT)
    _refuse_names(path.parent, [path.name])
    if is_folder(path):
        return _list_folder(path)
    if not os.path.exists(path):  # noqa: PTH110 (Path's raises for names that are too long)
        raise DataError(
            "missing-data-path", f"The data path {path} does not exist", expected=_LAYOUT
        )
    _refuse_archive(path)
    return _list_datalist(path)


def _refuse_archive(path: Path) -> None:
    try:
        with open_regular(path) as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise DataError(
            "unreadable-file",
            f"Cannot read the data path {path}: {error.strerror}",
            expected=_LAYOUT,
        ) from error
    if is_archive(path.name, head):
        raise DataError(
            "archive-as-data-path",
            f"The data path {path} is an archive",
            got=path.name,
            expected=_LAYOUT,
            hint="Extract it first and give the folder that holds img/ and gt/.",
        )


def _refuse_names(folder: Path, names: Iterable[str]) -> None:
    """Raise DataError for names that are not UTF-8: no record of a run could hold them."""
    # Surrogates stand for the bytes of such names.
    odd = [name for name in names if not name.isascii() and printable(name) != name]
    if odd:
        raise DataError(
            "not-utf8-name",
            f"{len(odd)} names in {printable(folder)} are not UTF-8",
            got=[printable(name) for name in sorted(odd)[:_SHOWN]],
            expected="names of UTF-8",
            hint="Rename images and labels alike, e.g. convmv -f latin1 -t utf8 --notest -r DATA.",
        )


def _list_folder(root: Path) -> Iterator[tuple[str, str]]:
    image_folder, label_folder = root / "img", root / "gt"
    for folder in (image_folder, label_folder):
        if not is_folder(folder):
            raise DataError(
                "bad-split-folder",
                f"{root} has no folder {folder.name}/",
                got=sorted(item.name for item in root.iterdir())[:8],
                expected=_LAYOUT,
            )
    labels = {name for name in file_names(label_folder) if name.lower().endswith(".txt")}
    found = scan(image_folder)
    _refuse_names(image_folder, found.images)
    _refuse_names(label_folder, labels)
    note_folders(image_folder, found.folders)
    if found.no_files:
        raise DataError(
            "not-a-file",
            f"{len(found.no_files)} images of {image_folder} are no files: links to nothing, pipes "
            "or devices",
            got=found.no_files[:_SHOWN],
            expected="image files, or links to some",
            hint="Remove them and their labels, or put the images there.",
        )
    images = found.images

    def label_of(name: str) -> str:
        stem = name.rpartition(".")[0]
        for pattern in LABEL_NAMES:
            label = pattern.format(stem)
            if label in labels:
                return label
        raise DataError(
            "missing-label",
            f"The image {image_folder / name} has no label file",
            got=f"none of {', '.join(pattern.format(stem) for pattern in LABEL_NAMES)}",
            expected=str(label_folder / LABEL_NAMES[0].format(stem)),
            hint="An image without text needs an empty label file.",
        )

    used = _collect(label_of, images)
    if left := labels.difference(used):
        text = "%d label file(s) in %s belong to no image and are left out, e.g. %s"
        _LOG.warning(text, len(left), label_folder, min(left))
    before_image, before_label = f"{image_folder}{os.sep}", f"{label_folder}{os.sep}"
    pairs = zip(images, used, strict=True)
    return ((before_image + image, before_label + label) for image, label in pairs)


def _list_datalist(path: Path) -> list[tuple[str, str]]:
    lines = enumerate(read_text(path, "datalist", _DATALIST_BYTES).split("\n"), start=1)

    def pair(numbered: tuple[int, str]) -> tuple[str, str]:
        number, line = numbered
        image, tab, label = line.partition("\t")
        match = None if tab else _SPLIT_AFTER_IMAGE.match(line.strip())
        if match:
            image, label = match.groups()
        if not image.strip() or not label.strip():
            raise DataError(
                "bad-datalist-line",
                f"{path}:{number}: the line does not name an image and a label file",
                got=line[:120],
                expected="<image path><tab><label path>, relative to the list",
            )
        files = {"image": path.parent / image.strip(), "label": path.parent / label.strip()}
        for kind, file in files.items():
            if not os.path.isfile(file):  # noqa: PTH113 (Path's raises for names that are too long)
                what = "is no file" if os.path.exists(file) else "does not exist"  # noqa: PTH110
                raise DataError(
                    f"missing-{kind}",
                    f"{path}:{number}: the {kind} {file} {what}",
                    expected="an existing file, relative to the list's folder",
                )
        return str(files["image"]), str(files["label"])

    return _collect(pair, ((number, line) for number, line in lines if line.strip()))
