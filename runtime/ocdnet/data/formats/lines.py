"""Lines of text for each picture: ICDAR2015 and its like, read as training reads them; and YOLO."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ocdnet.data.datalist import lines_of, pair_of
from ocdnet.data.formats.labelled import Labelled, Malformed, Shape, number, outline
from ocdnet.data.formats.left_out import LeftOut
from ocdnet.data.label_reader import LabelReader, Region, read_set
from ocdnet.data.look import IGNORE_TAGS
from ocdnet.data.readings import Reading
from ocdnet.data.text_files import read_text
from ocdnet.geometry import is_valid

_COLUMNS = {"mlt": "script", "rctw": "difficult"}
_AROUND = re.compile(r"^(?:poly_gt|gt|truth|res)_")
"""What stands before a picture's stem in the name of its label file."""


def pairs_of(paths: Sequence[Path]) -> list[tuple[str, str]]:
    """The stem of the picture that each label file belongs to, and that file."""
    return [(_AROUND.sub("", path.stem), str(path)) for path in paths]


def _listed(path: Path, out: LeftOut) -> list[tuple[str, str]]:
    """Picture and label file of each line of a datalist."""
    found = []
    for line_number, line in lines_of(path):
        where = f"{path}:{line_number}"
        pair = out.attempt("bad-picture-entry", where, partial(pair_of, path, line_number, line))
        if pair is not None:
            found.append(pair)
    return found


def reading_of(form: str, pairs: Sequence[tuple[str, str]]) -> tuple[str, Reading]:
    """How the lines of a set are read, decided from all of them, and the name of that form.

    MLT's script and RCTW's flag are a column where their form is named, else where they hide tags.
    """
    # The picture is not told: the converter compares labels and sizes itself.
    alone = [("", label) for _, label in pairs]
    reader, _ = read_set(alone, partial(LabelReader, IGNORE_TAGS), _read)
    reading = reader.evidence.reading()
    if column := _COLUMNS.get(form):
        return form, replace(reading, column=column)
    named = {column: name for name, column in _COLUMNS.items()}
    return named.get(reading.column, form), reading


def read_lines(
    pairs: Sequence[tuple[str, str]], reading: Reading, out: LeftOut, *, by_stem: bool
) -> Iterator[Labelled]:
    """The pictures of label files that the reader of training reads."""
    reader = LabelReader(IGNORE_TAGS, reading, _is_sound)
    for image, label in pairs:
        regions = out.attempt("bad-label-file", label, partial(reader.read, "", label))
        if regions is not None:
            shapes = [_shape(region, reading.column == "difficult") for region in regions]
            yield Labelled(image, shapes, label, by_stem=by_stem)
    reader.doubts.note("")


def read_datalist(path: Path, out: LeftOut) -> Iterator[Labelled]:
    """The pictures of a datalist, which is one set."""
    pairs = _listed(path, out)
    yield from read_lines(pairs, reading_of("datalist", pairs)[1], out, by_stem=False)


def _read(reader: LabelReader, pair: tuple[str, str]) -> None:
    reader.read(*pair)


def _is_sound(values: list[float]) -> bool:
    return is_valid(np.array(values).reshape(-1, 2))


def _shape(region: Region, quoted: bool) -> Shape:
    text = region.text
    if quoted and len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    kind = "quad" if len(region.values) == 8 else "polygon"
    return Shape(region.values, text, region.tagged, kind)


def read_yolo(path: Path, out: LeftOut) -> Iterator[Labelled]:
    """The picture of a file of YOLO's: turned boxes (OBB), boxes, or outlines, in parts of 1."""
    shapes = []
    for line_number, line in enumerate(read_text(path, "label file").split("\n"), start=1):
        where = f"{path}:{line_number}"
        if line.strip() and (found := out.attempt("bad-region", where, partial(_yolo, line))):
            shapes.append(found)
    yield Labelled(path.stem, shapes, str(path), by_stem=True, relative=True)


def _yolo(line: str) -> Shape:
    values = [number(field) for field in line.split()][1:]
    if len(values) == 4:
        x, y, width, height = values[0], values[1], values[2] / 2, values[3] / 2
        corners = [x - width, y - height, x + width, y - height]
        return Shape([*corners, x + width, y + height, x - width, y + height], "", False, "box")
    if len(values) < 6 or len(values) % 2:
        raise Malformed(f"{len(values)} numbers behind the class: 4, 8 or the points of an outline")
    return Shape(outline(values), "", False, "quad" if len(values) == 8 else "polygon")
