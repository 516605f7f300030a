"""What `ocdnet view` is given: pictures, labelled ones, or what a run wrote of some."""

from __future__ import annotations

import logging
import os
from itertools import islice
from pathlib import Path

from ocdnet.actions.result_names import result_names
from ocdnet.data.datalist import list_datalist
from ocdnet.data.folders import list_images, scan
from ocdnet.data.formats.recognise import convert_line
from ocdnet.data.label_files import LabelFiles
from ocdnet.data.layout import IMAGE_SUFFIXES, is_picture, is_split
from ocdnet.data.reading import FilePage, pages_of_file
from ocdnet.errors import DataError
from ocdnet.files import is_folder, open_regular
from ocdnet.runs.files import EXPERIMENT, EXPLAINED, PREDICTIONS, is_file, is_results
from ocdnet.runs.outputs import without_own
from ocdnet.tree import yaml_io
from ocdnet.view.records import Evaluated, Predicted
from ocdnet.view.sets import Labelled, Part, PictureSet, Written

LOG = logging.getLogger("ocdnet")
_MOST_SPLITS = 1000
_ACTIONS = ("evaluate", "deploy_evaluate", "inference", "deploy_inference")
"""Folders below a run's results_dir in which records of pictures are looked for."""
EXPECTED = (
    "a folder of pictures, a split folder (img/ and gt/) or a folder of such, a datalist, or the "
    "results of evaluate, inference or predict"
)


def open_set(path: Path) -> PictureSet:
    """The pictures of a path, whatever it is; says what it was taken for where that is not plain.

    Raises:
        DataError: it is absent, can't be read, or holds no picture.
    """
    found = _of_folder(path) if is_folder(path) else _of_file(path)
    if not len(found):
        raise DataError(
            "no-images",
            f"There are no pictures in {path}",
            expected=f"{EXPECTED}; images are {' '.join(sorted(IMAGE_SUFFIXES))}",
            hint=convert_line(path),
        )
    return found


def _of_file(path: Path) -> PictureSet:
    try:
        with open_regular(path) as file:
            head = file.read(1 << 16)
    except OSError as error:
        code = "unreadable-file" if os.path.lexists(path) else "no-such-path"
        message = f"Cannot read {path}: {error.strerror}"
        raise DataError(code, message, got=str(path), expected=EXPECTED) from error
    if head.lstrip()[:1] == b"{":
        explained = path.name == EXPLAINED or b'"labels"' in head.split(b"\n", 1)[0]
        return _of_records(path, explained=explained)
    if is_picture(path.name):
        pages = pages_of_file(path)
        return Labelled([_part(pages, [None] * len(pages))])
    errors: list[DataError] = []
    pairs = list_datalist(path, errors=errors)
    if errors and not pairs:
        raise errors[0]
    if errors:
        LOG.warning("%d lines were left out, the first: %s", len(errors), errors[0].message)
    return Labelled([Part([image for image, _ in pairs], [label for _, label in pairs])])


def _of_records(path: Path, *, explained: bool) -> PictureSet:
    LOG.info("Taken for the records of a run: %s", path)
    records = Evaluated(path) if explained else Predicted(path)
    if records.left_out:
        LOG.warning("%d lines of %s are none of ours: left out", records.left_out, path)
    return records


def _of_folder(folder: Path) -> PictureSet:
    for below in (folder, *(folder / name for name in _ACTIONS)):
        for name in (EXPLAINED, PREDICTIONS):
            if is_file(below / name):
                return _of_records(below / name, explained=name == EXPLAINED)
        if is_results(below) and (written := _written(below)) is not None:
            LOG.info("Taken for the text files of inference: %s", below)
            return written
    if folder.name == "img" and is_split(folder.parent):
        LOG.info("The labels of %s are shown, too", folder.parent)
        folder = folder.parent
    splits = [folder] if is_split(folder) else _splits_below(folder)
    if splits:
        return Labelled([_of_split(split) for split in splits])
    pages = _pages_below(folder, recursive=True)
    if pages and (hint := convert_line(folder)):
        LOG.warning("Labels are not shown. %s", hint)
    return Labelled([_part(pages, [None] * len(pages))])


def _pages_below(folder: Path, *, recursive: bool) -> list[FilePage]:
    """The pictures below a folder, but those that runs have made."""
    images = list_images(folder, recursive, documents=True, is_own=is_results)
    return [page for image in without_own(images, folder) for page in pages_of_file(image)]


def _part(pages: list[FilePage], beside: list[str | None]) -> Part:
    numbers = {place: page.number for place, page in enumerate(pages) if page.number is not None}
    return Part([str(page.path) for page in pages], beside, numbers)


def _written(results: Path) -> PictureSet | None:
    """The pictures of an inference by the text files that it wrote; None: there are none."""
    section = yaml_io.read(results / EXPERIMENT).get("inference")
    section = section if isinstance(section, dict) else {}
    given = section.get("input_folder")
    if not isinstance(given, str) or not any(results.rglob("*.txt")):
        return None
    if not is_folder(given):
        raise DataError(
            "no-such-folder",
            f"The pictures of {results} are not there: its inference.input_folder is no folder",
            got=given,
            expected="the folder of pictures that inference read",
            hint="Run this where inference was run, or give the pictures' own folder and --model.",
        )
    pages = _pages_below(Path(given), recursive=bool(section.get("recursive")))
    names = result_names(pages, Path(given))
    texts = [results / f"{names[page]}.txt" for page in pages]
    rows = [(p, str(text)) for p, text in zip(pages, texts, strict=True) if is_file(text)]
    return Written([_part([page for page, _ in rows], [text for _, text in rows])])


def _splits_below(folder: Path) -> list[Path]:
    names = islice(sorted(item for item in folder.iterdir() if item.is_dir()), _MOST_SPLITS)
    return [item for item in names if is_split(item)]


def _of_split(split: Path) -> Part:
    """All pictures of a split folder: here also those without a label file."""
    files, names = LabelFiles(split), scan(split / "img").images
    image, label = f"{split / 'img'}{os.sep}", f"{split / 'gt'}{os.sep}"
    labels = (files.find(name) for name in names)
    return Part([image + name for name in names], [x and label + x for x in labels])
