"""What OCR projects train from: PaddleOCR's lists, docTR's and MMOCR's JSON."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ocdnet.data.formats.labelled import (
    Labelled,
    Malformed,
    Shape,
    box,
    mapping,
    outline,
    sequence,
    shape,
    size_of,
    text_of,
)
from ocdnet.data.formats.left_out import LeftOut
from ocdnet.data.formats.structured import load_json, loads
from ocdnet.errors import DataError
from ocdnet.files import open_regular


def read_paddleocr(path: Path, out: LeftOut) -> Iterator[Labelled]:
    """The pictures of a `Label.txt` or detection list: `picture<tab>JSON`, a line a picture.

    Text `###` or `*`, and what is marked `difficult`, is ignored.
    """
    try:
        with open_regular(path) as file:
            lines = io.TextIOWrapper(io.BufferedReader(file), "utf-8-sig", newline="\n")
            for line_number, line in enumerate(lines, start=1):
                if line.strip():
                    yield from _paddle_line(line, f"{path}:{line_number}", out)
    except UnicodeDecodeError as error:
        raise DataError("bad-label-file", f"{path}: it is not UTF-8") from error
    except OSError as error:
        raise DataError("bad-label-file", f"{path}: {error.strerror or error}") from error


def _paddle_line(line: str, where: str, out: LeftOut) -> Iterator[Labelled]:
    name, tab, rest = line.partition("\t")
    regions = out.attempt("bad-picture-entry", where, partial(_paddle_regions, rest))
    if regions is None:
        return
    if not tab or not name.strip():
        out.add("bad-picture-entry", where, "it names no picture")
        return
    yield Labelled(name.strip(), _regions(regions, _paddle, where, out), where)


def _paddle_regions(text: str) -> Sequence[Any]:
    return sequence(loads(text), "the second column")


def _paddle(entry: Any) -> Shape:
    entry = mapping(entry, "a region")
    return shape(outline(entry.get("points")), "", [entry])


def _regions(
    entries: Sequence[Any], read: Callable[[Any], Shape], where: str, out: LeftOut
) -> list[Shape]:
    shapes = []
    for at, entry in enumerate(entries):
        if found := out.attempt("bad-region", f"{where}: region {at}", partial(read, entry)):
            shapes.append(found)
    return shapes


def read_doctr(path: Path, out: LeftOut) -> Iterator[Labelled]:
    """The pictures of docTR's detection labels: picture to polygons, or to those of each class."""
    document = load_json(path)
    if not isinstance(document, dict):
        raise DataError("bad-label-file", f"{path}: it is no JSON object of pictures")
    for name, entry in document.items():
        where = f"{path}: {name[:200]}"
        found = out.attempt("bad-picture-entry", where, partial(_polygons, entry))
        if found is not None:
            # img_dimensions are not taken: nothing says whether height or width comes first.
            yield Labelled(text_of(name), _regions(found, _plain, where, out), where)


def _plain(polygon: Any) -> Shape:
    return shape(outline(polygon), "", [])


def _polygons(entry: Any) -> list[Any]:
    polygons = mapping(entry, "the entry").get("polygons")
    if isinstance(polygons, dict):
        return [one for part in polygons.values() for one in sequence(part, "polygons")]
    return list(sequence(polygons, "polygons"))


def read_mmocr(path: Path, out: LeftOut) -> Iterator[Labelled]:
    """The pictures of MMOCR's detection labels (`data_list`)."""
    document = load_json(path)
    if not isinstance(document, dict) or not isinstance(document.get("data_list"), list):
        raise DataError("bad-label-file", f"{path}: it has no list `data_list`, as MMOCR's have")
    for at, entry in enumerate(document["data_list"]):
        where = f"{path}: data_list[{at}]"
        name = text_of(entry.get("img_path")) if isinstance(entry, dict) else ""
        regions = entry.get("instances") if isinstance(entry, dict) else None
        if not name or not isinstance(regions, list):
            out.add("bad-picture-entry", where, "no img_path, or no list `instances`")
            continue
        size = size_of(entry.get("width"), entry.get("height"))
        yield Labelled(name, _regions(regions, _mmocr, where, out), where, size)


def _mmocr(entry: Any) -> Shape:
    entry = mapping(entry, "an instance")
    if entry.get("polygon"):
        return shape(outline(entry["polygon"]), "", [entry])
    corners = sequence(entry.get("bbox"), "bbox")
    if len(corners) != 4:
        raise Malformed(f"bbox has {len(corners)} numbers")
    return shape(box(*corners), "", [entry], "box")
