"""Reading datasets: split folders, datalists and ICDAR-style label files."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ocdnet.data.layout import HEAD_BYTES, IMAGE_SUFFIXES, file_names, is_archive, is_image
from ocdnet.errors import DataError

_COORDINATE_LIMIT = 1e7
"""Sum of absolute coordinates that no image reaches: beyond it float32 loses pixels."""

_SPLIT_AFTER_IMAGE = re.compile(
    r"^(.*?(?:" + "|".join(re.escape(s) for s in sorted(IMAGE_SUFFIXES)) + r"))\s+(\S.*)$",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"(\d+)")
_T = TypeVar("_T")
_R = TypeVar("_R")
_LOG = logging.getLogger("ocdnet")
_LAYOUT = "a split folder with img/ and gt/, or a UTF-8 datalist file"

Polygon = NDArray[np.float32]
Labels = tuple[list[Polygon], list[str], NDArray[np.bool_]]


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


def parse_label_file(path: str | Path, ignore_tags: Sequence[str]) -> Labels:
    """Read a label file: one instance a line, `x1,y1,...,xN,yN,transcription`.

    The first eight fields must be finite numbers. The transcription is everything after the
    coordinates, stripped: it may hold commas and quotes, be empty or absent (then it is `""`).

    More than four points: a transcription may itself begin with numbers (`12,34`), so each
    further pair of numbers is a point only while it lies near those before it: inside their
    bounding box grown on each side by 1.5 times its longer side. The points of one word are
    neighbours; a price taken for a point almost never falls there, and numbers like `000` are no
    coordinates. What follows the last such pair is the transcription.

    A byte order mark, CRLF ends and blank lines are accepted. An instance is ignored when its
    transcription equals one of `ignore_tags` or when its polygon has no area.

    Returns:
        Polygons (float32[N, 2] each, pixels of the original image), texts and ignore (bool[K]).

    Raises:
        DataError: the file is absent, not UTF-8, or a line can't be read (`file:line` is named).
    """
    lines = _read_text(Path(path), "label file").split("\n")
    tags = frozenset(ignore_tags)
    corners: list[float] = []
    longer: dict[int, list[float]] = {}
    texts: list[str] = []
    ignore: list[bool] = []
    for number, line in enumerate(lines, start=1):
        if not line or line.isspace():
            continue
        values, text = _parse_line(line, path, number)
        if len(values) > 8:
            longer[len(texts)] = values
        corners += values[:8]
        texts.append(text)
        ignore.append(text in tags or not _has_area(values))
    # One array and K views of it: a fifth of the time of K arrays.
    polygons = list(np.array(corners, dtype=np.float32).reshape(-1, 4, 2))
    for index, values in longer.items():
        polygons[index] = np.array(values, dtype=np.float32).reshape(-1, 2)
    return polygons, texts, np.array(ignore, dtype=np.bool_)


def _parse_line(line: str, path: str | Path, number: int) -> tuple[list[float], str]:
    """Coordinates (an even count, 8 or more) and the transcription of one line."""
    fields = line.split(",", 8)
    try:
        values = [float(field) for field in fields[:8]]
    except ValueError:
        values = []
    # A NaN makes the comparison false, like an infinity.
    if len(values) < 8 or not sum(map(abs, values)) < _COORDINATE_LIMIT:
        raise _bad_line(line, path, number)
    rest = fields[8].strip() if len(fields) > 8 else ""
    if "," not in rest or not (rest[0].isdigit() or rest[0] in "-+."):
        return values, rest
    return _extend(values, rest)


def _extend(values: list[float], rest: str) -> tuple[list[float], str]:
    """Move leading numbers of the transcription to the points where they continue the outline."""
    fields = rest.split(",")
    extra: list[float] = []
    for field in fields:
        try:
            number = float(field)
        except ValueError:
            break
        if field[:1] == "0" and field[1:2].isdigit():  # the thousands of 10,000
            break
        extra.append(number)
    xs, ys = values[0::2], values[1::2]
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    taken = 0
    for x, y in zip(extra[0::2], extra[1::2], strict=False):
        growth = 1.5 * max(right - left, bottom - top)
        near_x = left - growth <= x <= right + growth
        if not (near_x and top - growth <= y <= bottom + growth):
            break
        left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
        taken += 2
    return values + extra[:taken], ",".join(fields[taken:]).strip()


def _has_area(values: Sequence[float]) -> bool:
    """Whether the polygon x1, y1, x2, y2, ... encloses anything (shoelace formula)."""
    doubled = 0.0
    last_x, last_y = values[-2], values[-1]
    for i in range(0, len(values), 2):
        x, y = values[i], values[i + 1]
        doubled += last_x * y - x * last_y
        last_x, last_y = x, y
    return abs(doubled) > 1e-6


def _bad_line(line: str, path: str | Path, number: int) -> DataError:
    fields = line.split(",")
    count = 0
    for field in fields:
        try:
            usable = abs(float(field)) < _COORDINATE_LIMIT
        except ValueError:
            usable = False
        if not usable:
            break
        count += 1
    where = f"{path}:{number}"
    if count < min(len(fields), 8):
        detail = f"field {count + 1} is not a coordinate: {fields[count].strip()[:40]!r}"
    else:
        detail = f"{count} coordinates are too few or too large"
    return DataError(
        "bad-label-line",
        f"{where}: {detail}",
        got=line.strip()[:120],
        expected="x1,y1,x2,y2,x3,y3,x4,y4,transcription: four points or more, finite numbers",
        hint=f"Mend line {number} of {path}, or remove it.",
    )


def _read_text(path: Path, what: str) -> str:
    """The file's text without byte order mark, every line end a single line feed."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(
            "unreadable-file",
            f"Cannot read the {what} {path}: {error.strerror}",
            expected="a readable text file",
        ) from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            "not-utf8",
            f"{path}:{line}: the {what} is not UTF-8",
            got=f"byte 0x{raw[error.start]:02x}",
            expected="UTF-8 text",
            hint=f"Convert it, e.g. iconv -f latin1 -t utf-8 {path}",
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def index_dataset(data_paths: Sequence[str | Path], ignore_tags: Sequence[str]) -> list[Annotation]:
    """Read every label of a dataset; images are only checked to exist.

    Each entry of `data_paths` is a split folder (`img/`, `gt/`; labels `gt_<stem>.txt`, else
    `<stem>.txt`; images in natural order) or a UTF-8 datalist (a line: image and label, paths
    relative to the list, separated by a tab, else by the blanks after an image suffix). Entries
    are concatenated in the order given. An image whose label file is empty is kept. Label files
    that belong to no image are left out with a warning in the log.

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
    pairs = [pair for entry in data_paths for pair in _list_pairs(entry)]
    if not pairs:
        raise DataError(
            "empty-dataset",
            f"No image was found in {', '.join(map(str, data_paths))}",
            got="0 images",
            expected=f"images ({' '.join(sorted(IMAGE_SUFFIXES))}) with label files",
        )
    return _collect(lambda pair: _read_annotation(*pair, ignore_tags), pairs)


def _read_annotation(image: Path, label: Path, ignore_tags: Sequence[str]) -> Annotation:
    polygons, texts, ignore = parse_label_file(label, ignore_tags)
    return Annotation(image, label, polygons, ignore, texts)


def _collect(read: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
    """Read all items; of all that fail, raise the first with the number of the others."""
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


def _list_pairs(entry: str | Path) -> list[tuple[Path, Path]]:
    """Image and label paths of one data path."""
    path = Path(entry)
    if not str(entry).strip():
        raise DataError("no-data-path", "A data path is empty", got=str(entry), expected=_LAYOUT)
    if path.is_dir():
        return _list_folder(path)
    if not path.exists():
        raise DataError(
            "missing-data-path", f"The data path {path} does not exist", expected=_LAYOUT
        )
    _refuse_archive(path)
    return _list_datalist(path)


def _refuse_archive(path: Path) -> None:
    try:
        with path.open("rb") as file:
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


def _list_folder(root: Path) -> list[tuple[Path, Path]]:
    image_folder, label_folder = root / "img", root / "gt"
    for folder in (image_folder, label_folder):
        if not folder.is_dir():
            raise DataError(
                "bad-split-folder",
                f"{root} has no folder {folder.name}/",
                got=sorted(item.name for item in root.iterdir())[:8],
                expected=_LAYOUT,
            )
    labels = {name for name in file_names(label_folder) if name.lower().endswith(".txt")}
    images = _image_names(image_folder)
    used: set[str] = set()

    def pair(name: str) -> tuple[Path, Path]:
        stem = name.rpartition(".")[0]
        for label in (f"gt_{stem}.txt", f"{stem}.txt"):
            if label in labels:
                used.add(label)
                return image_folder / name, label_folder / label
        raise DataError(
            "missing-label",
            f"The image {image_folder / name} has no label file",
            got="neither name exists",
            expected=f"{label_folder / f'gt_{stem}.txt'} or {stem}.txt",
            hint="An image without text needs an empty label file.",
        )

    pairs = _collect(pair, images)
    if left := labels - used:
        text = "%d label file(s) in %s belong to no image and are left out, e.g. %s"
        _LOG.warning(text, len(left), label_folder, min(left))
    return pairs


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder, not of its subfolders, in natural order."""
    return [folder / name for name in _image_names(folder)]


def _image_names(folder: Path) -> list[str]:
    return sorted(filter(is_image, file_names(folder)), key=_natural_key)


def _natural_key(name: str) -> list[str | int]:
    """`img_10` after `img_9`: every second part of the split is a run of digits."""
    return [int(part) if i % 2 else part for i, part in enumerate(_DIGITS.split(name))]


def _list_datalist(path: Path) -> list[tuple[Path, Path]]:
    lines = enumerate(_read_text(path, "datalist").split("\n"), start=1)

    def pair(numbered: tuple[int, str]) -> tuple[Path, Path]:
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
        found = path.parent / image.strip(), path.parent / label.strip()
        for file, what in zip(found, ("image", "label"), strict=True):
            if not file.is_file():
                raise DataError(
                    f"missing-{what}",
                    f"{path}:{number}: the {what} {file} does not exist",
                    expected="an existing file, relative to the list's folder",
                )
        return found

    return _collect(pair, ((number, line) for number, line in lines if line.strip()))
