"""Datalists: a line for each image, which names it and its label file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from ocdnet.data.faults import collect
from ocdnet.data.formats.recognise import convert_line
from ocdnet.data.layout import IMAGE_SUFFIXES, is_image
from ocdnet.data.text_files import read_text
from ocdnet.errors import DataError
from ocdnet.files import is_member

_SPLIT_AFTER_IMAGE = re.compile(
    r"^(.*?(?:" + "|".join(re.escape(s) for s in sorted(IMAGE_SUFFIXES)) + r"))\s+(\S.*)$",
    re.IGNORECASE,
)
_MOST_BYTES = 1 << 28
_NUMBERS = re.compile(r"\s*(?:-?[0-9.]+[,\s]+){7}-?[0-9.]+")
_EXPECTED = "<image path><tab><label path>, relative to the list"


def list_datalist(
    path: Path, most: int | None = None, errors: list[DataError] | None = None
) -> list[tuple[str, str]]:
    """Image and label file of each line; blank lines are left out.

    Args:
        path: the list.
        most: lines that are looked at; None: all.
        errors: takes those of lines that do not name two files, which are left out.

    Raises:
        DataError: the list can't be read; a line does not name two files that are there. All such
            lines are told in one error. Unless `errors` takes them.
    """
    with _convert_hint(path):
        numbered = islice(lines_of(path), most)
        return collect(lambda line: pair_of(path, *line), numbered, errors)


def datalist_of(pairs: Iterable[tuple[str, str]], folder: Path) -> str:
    """The text of a datalist in a folder, its paths relative where there is a way.

    Raises:
        DataError: a line can't hold a name, as of blanks at its end or a line feed.
    """
    lines = []
    for pair in pairs:
        image, label = (_relative(path, folder) for path in pair)
        line = f"{image}\t{label}"
        if "\n" in line or "\r" in line or _names(folder, 1, line) != (image, label):
            message = "A datalist can't hold the name of an image or its label"
            raise DataError("odd-name", message, got=list(pair), hint="Rename it.")
        lines.append(f"{line}\n")
    return "".join(lines)


def _relative(path: str, folder: Path) -> str:
    try:
        return os.path.relpath(os.path.realpath(path), os.path.realpath(folder))
    except ValueError:  # another drive of Windows
        return os.path.realpath(path)


def check_form(path: Path, most: int = 200) -> None:
    """Raise the error of the first lines that do not name two files, whether they exist or not."""
    with _convert_hint(path):
        collect(lambda numbered: _names(path, *numbered), islice(lines_of(path), most))


@contextmanager
def _convert_hint(path: Path) -> Iterator[None]:
    """Within: an error of a file that is no list, but other labels, tells how to convert them."""
    try:
        yield
    except DataError as error:
        if error.code == "bad-datalist-line":
            error.hint = convert_line(path) or error.hint
        raise


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of a list's lines; blank ones are left out."""
    lines = enumerate(read_text(path, "datalist", _MOST_BYTES).split("\n"), start=1)
    return ((number, line) for number, line in lines if line.strip())


def _names(path: Path, number: int, line: str) -> tuple[str, str]:
    """The two names of a line, as they are written."""
    image, tab, label = line.partition("\t")
    match = None if tab else _SPLIT_AFTER_IMAGE.match(line.strip())
    if match:
        image, label = match.groups()
    image, label = image.strip(), label.strip()
    fault = _fault(line, image, label)
    if fault:
        raise DataError(
            "bad-datalist-line",
            f"{path}:{number}: {fault[0]}",
            got=line[:120],
            expected=_EXPECTED,
            hint=fault[1],
        )
    return image, label


def pair_of(path: Path, number: int, line: str) -> tuple[str, str]:
    """The two files of a line; raises DataError where it does not name two that are there."""
    names = dict(zip(("image", "label"), _names(path, number, line), strict=True))
    for kind, name in names.items():
        file = path.parent / name
        if not (os.path.isfile(file) or is_member(file)):  # noqa: PTH113 (Path's may raise)
            what = "is no file" if os.path.exists(file) else "does not exist"  # noqa: PTH110
            raise DataError(
                f"missing-{kind}",
                f"{path}:{number}: the {kind} {str(file)[:400]} {what}",
                got=line[:120],
                expected="an existing file, relative to the list's folder",
                hint=_missing_hint(name),
            )
    return str(path.parent / names["image"]), str(path.parent / names["label"])


def _fault(line: str, image: str, label: str) -> tuple[str, str | None] | None:
    """What is wrong with the form of a line, and what to do; None: nothing."""
    if label.startswith(("[", "{")):
        return (
            "the second column is JSON as of PaddleOCR, not a label file",
            "`ocdnet data convert` makes label files of them.",
        )
    if line.lstrip()[0] in "\"'" or label[:1] in {'"', "'"}:
        return "the paths are in quotes", "Take the quotes away: a path may hold blanks as it is."
    if not image or not label:
        hint = None
        if _NUMBERS.match(line):
            hint = "It is a label file: give the folder that holds img/ and gt/."
        elif line.lstrip().startswith(("{", "[", "<")):
            hint = "It is JSON or XML: list images and label files, a pair a line."
        elif any(mark in line for mark in ",;"):
            hint = "Put a tab between the two paths."
        return "the line does not name an image and a label file", hint
    if "\t" in label:
        number = len(line.split("\t"))
        return f"the line has {number} columns", "Keep the image and its label file alone."
    if is_image(label) and not is_image(image):
        return "the image comes second", "Exchange the columns: image first, then its label file."
    return None


def _missing_hint(text: str) -> str | None:
    if "\\" in text and os.sep == "/":
        return "This machine separates folders by /, not by \\: sed -i 's#\\\\#/#g' on the list."
    if os.path.isfile(text):  # noqa: PTH113
        return "It exists from where you are; paths are relative to the list's own folder."
    return None
