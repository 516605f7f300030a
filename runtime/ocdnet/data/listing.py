"""The images of a data path, and the label file of each: of a split folder, or of a datalist."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from ocdnet.data.datalist import list_datalist
from ocdnet.data.doubts import Doubts, note_shared
from ocdnet.data.faults import collect
from ocdnet.data.folders import note_folders, scan
from ocdnet.data.formats.recognise import convert_line
from ocdnet.data.label_files import LabelFiles
from ocdnet.data.layout import (
    HEAD_BYTES,
    fetch_hint,
    file_names,
    inside_hint,
    is_archive,
    is_image,
    tars_of,
)
from ocdnet.data.tar_pairs import pairs_of_tars
from ocdnet.errors import DataError, printable
from ocdnet.files import is_folder, open_regular
from ocdnet.findings import note

LAYOUT = "a split folder with img/ and gt/, a folder of .tar files, or a UTF-8 datalist file"
_SHOWN = 10
_OF_TARS = "Of tar files with KEY.jpg and KEY.txt in each, give the folder in which they lie."


class Pairs(Protocol):
    """Image and label paths, which can be gone through again."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[tuple[str, str]]: ...


def list_pairs(entry: str | Path, key: str, errors: list[DataError] | None = None) -> Pairs:
    """Image and label paths of one data path; labels without image, and the like, are noted.

    Args:
        entry: a split folder, a folder of tar files, or a datalist.
        key: spec key of the path, for what is noted.
        errors: takes the errors of single images, which are left out; None: they are raised.

    Raises:
        DataError: the path is empty, absent, an archive or neither layout; or see `errors`.
    """
    path = Path(entry)
    if not str(entry).strip():
        raise DataError("no-data-path", "A data path is empty", got=str(entry), expected=LAYOUT)
    _refuse_names(path.parent, [path.name])
    if is_folder(path):
        if tars := tars_of(path):
            _refuse_names(path, tars)
            _note_beside(path, key)
            return pairs_of_tars(path, tars, key, errors)
        return _Folder(path, key, errors)
    if not os.path.exists(path):  # noqa: PTH110 (Path's raises for names that are too long)
        raise DataError(
            "missing-data-path",
            f"The data path {entry} does not exist",
            expected=LAYOUT,
            hint=fetch_hint(entry) or (_OF_TARS if path.suffix.lower() == ".tar" else None),
        )
    _refuse_archive(path)
    return list_datalist(path, errors=errors)


def _refuse_archive(path: Path) -> None:
    try:
        with open_regular(path) as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise DataError(
            "unreadable-file",
            f"Cannot read the data path {path}: {error.strerror}",
            expected=LAYOUT,
        ) from error
    if is_archive(path.name, head):
        raise DataError(
            "archive-as-data-path",
            f"The data path {path} is an archive",
            got=path.name,
            expected=LAYOUT,
            hint="Extract it first and give the folder that holds img/ and gt/."
            + (f" {_OF_TARS}" if path.suffix.lower() == ".tar" else ""),
        )


def _note_beside(folder: Path, key: str) -> None:
    """Note what lies beside tar files and may have been meant, but is not read."""
    found = [name for name in file_names(folder) if not name.lower().endswith((".tar", ".txt"))]
    for name in sorted(name for name in found if is_archive(name) or is_image(name)):
        message = "Beside tar files neither images nor compressed archives are read"
        note("beside-tars", message, file=folder / name, key=key)
    note_folders(folder, sorted(entry.name for entry in folder.iterdir() if entry.is_dir()), key)


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


class _Folder:
    """Image and label paths of a split folder; notes labels without image, or with several.

    Only names are held: of 100,000 images the paths would take 40 MB.
    """

    def __init__(self, root: Path, key: str, errors: list[DataError] | None) -> None:
        self._root = root
        for name in ("img", "gt"):
            if not is_folder(root / name):
                raise DataError(
                    "bad-split-folder",
                    f"{root} has no folder {name}/",
                    got=sorted(item.name for item in root.iterdir())[:8],
                    expected=LAYOUT,
                    hint=convert_line(root) or inside_hint(root),
                )
        files, found = LabelFiles(root), scan(root / "img")
        _refuse_names(root / "img", found.images)
        _refuse_names(root / "gt", files.labels)
        note_folders(root / "img", found.folders)
        if found.no_files:
            fault = _no_files(root / "img", found.no_files)
            if errors is None:
                raise fault
            errors.append(fault)
            found.images = [name for name in found.images if name not in set(found.no_files)]
        pairs = collect(lambda image: (image, files.of(image)), found.images, errors)
        self._images = [image for image, _ in pairs]
        self._labels = [label for _, label in pairs]
        doubts = Doubts()
        for label in sorted(files.labels.difference(self._labels)):
            doubts.add("unused-label", str(root / "gt" / label))
        doubts.note(key)
        if len(set(self._labels)) < len(self._labels):
            note_shared(self, key)

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        image, label = f"{self._root / 'img'}{os.sep}", f"{self._root / 'gt'}{os.sep}"
        pairs = zip(self._images, self._labels, strict=True)
        return ((image + name, label + other) for name, other in pairs)


def _no_files(folder: Path, names: list[str]) -> DataError:
    return DataError(
        "not-a-file",
        f"{len(names)} images of {folder} are no files: links to nothing, pipes or devices",
        got=names[:_SHOWN],
        expected="image files, or links to some",
        hint="Remove them and their labels, or put the images there.",
    )
