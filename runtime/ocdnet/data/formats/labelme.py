"""labelme: a JSON file for each picture."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ocdnet.data.formats.labelled import (
    Labelled,
    Malformed,
    Shape,
    box,
    coordinates,
    is_class,
    mapping,
    outline,
    sequence,
    shape,
    size_of,
    text_of,
)
from ocdnet.data.formats.left_out import LeftOut
from ocdnet.data.formats.structured import load_json
from ocdnet.errors import DataError

_POLYGONS = ("polygon", "rotation", "quadrilateral")
"""Kinds of shapes that list their corners; `rotation` and so on are of labelme's descendants."""
_NOT_TEXT = ("circle", "ellipse", "line", "linestrip", "mask", "point", "points", "cuboid")


def read(path: Path, out: LeftOut) -> Iterator[Labelled]:
    """The picture of a labelme file.

    A shape's text is its `description`, else its label unless that is only a class; it is ignored
    where a flag (`ignore`, `difficult`, `illegible`), `difficult`, or its label says so.
    """
    document = load_json(path)
    if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
        raise DataError("bad-label-file", f"{path}: it has no list `shapes`, as labelme's have")
    shapes = []
    for at, entry in enumerate(document["shapes"]):
        if found := _shape(entry, f"{path}: shapes[{at}]", out):
            shapes.append(found)
    size = size_of(document.get("imageWidth"), document.get("imageHeight"))
    name = text_of(document.get("imagePath")) or path.stem
    yield Labelled(name, shapes, str(path), size, by_stem=True)


def _shape(entry: Any, where: str, out: LeftOut) -> Shape | None:
    kind = entry.get("shape_type") or "polygon" if isinstance(entry, dict) else "polygon"
    if kind in _NOT_TEXT:
        out.add("other-shape", where, f"a {kind}")
        return None
    return out.attempt("bad-region", where, partial(_region, entry, str(kind)))


def _region(entry: Any, kind: str) -> Shape:
    entry = mapping(entry, "a shape")
    points = sequence(entry.get("points"), "points")
    if kind == "rectangle" and len(points) == 2:
        corners = coordinates(points)
        if len(corners) != 4:
            raise Malformed("a rectangle has two points or four")
        values = box(*corners)
    elif kind == "rectangle" or kind in _POLYGONS:
        values = outline(points)
    else:
        raise Malformed(f"shape_type {kind[:40]!r} is not known")
    flags = entry.get("flags") if isinstance(entry.get("flags"), dict) else {}
    attributes = entry.get("attributes") if isinstance(entry.get("attributes"), dict) else {}
    label = entry.get("label")
    text = entry.get("description") or ("" if is_class(label) else label)
    own = {"text": text, "difficult": entry.get("difficult")}
    return shape(values, label, [own, flags, attributes], kind)
