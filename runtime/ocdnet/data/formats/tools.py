"""Exports of CVAT (XML for images), VIA (JSON and CSV) and Pascal VOC's XML."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from ocdnet.data.formats.labelled import (
    Labelled,
    Malformed,
    Shape,
    box,
    mapping,
    number,
    outline,
    sequence,
    shape,
    size_of,
    text_of,
    turned_box,
)
from ocdnet.data.formats.left_out import LeftOut
from ocdnet.data.formats.structured import elements, load_json, loads
from ocdnet.data.text_files import read_text
from ocdnet.errors import DataError

_MOST_BYTES = 1 << 30
_CVAT_OTHER = frozenset({"polyline", "points", "mask", "ellipse", "cuboid", "skeleton", "tag"})


def read_cvat(path: Path, out: LeftOut) -> Iterator[Labelled]:
    """The pictures of an export "CVAT for images 1.1": polygons, and boxes with their rotation.

    An attribute `transcription` or `text` is the text; `ignore`, `difficult` or `illegible` that is
    true ignores it. The `subset` is the split.
    """
    for image in elements(path, "image", "track"):
        if image.tag == "track":
            out.add("other-shape", f"{path}: track {image.get('id')}", "a track of a video")
            continue
        name = image.get("name") or ""
        where = f"{path}: image {name or image.get('id')}"
        if not name:
            out.add("bad-picture-entry", where, "it has no name")
            continue
        shapes = []
        for child in image:
            if child.tag in _CVAT_OTHER:
                out.add("other-shape", where, f"a {child.tag}")
            elif found := out.attempt("bad-region", where, partial(_cvat, child)):
                shapes.append(found)
        size = size_of(image.get("width"), image.get("height"))
        yield Labelled(name, shapes, where, size, split=image.get("subset") or "")


def _cvat(child: Element) -> Shape:
    attributes = {one.get("name") or "": one.text for one in child.findall("attribute")}
    if child.tag == "polygon":
        points = [point.split(",") for point in (child.get("points") or "").split(";")]
        return shape(outline(points), child.get("label"), [attributes])
    if child.tag != "box":
        raise Malformed(f"<{child.tag[:40]}> is not known")
    values = box(*(child.get(name) for name in ("xtl", "ytl", "xbr", "ybr")))
    angle = number(child.get("rotation") or 0)
    if angle:
        left, top, right, _, _, bottom = values[:6]
        centre = (left + right) / 2, (top + bottom) / 2
        values = turned_box(centre, right - left, bottom - top, math.radians(angle))
    return shape(values, child.get("label"), [attributes], "turned box" if angle else "box")


def read_voc(path: Path, out: LeftOut) -> Iterator[Labelled]:
    """The picture of a file of Pascal VOC's, or of MIT's LabelMe, in XML.

    A region is a `bndbox`, a `robndbox` (turned) or a `polygon`; `difficult` is ignored, `deleted`
    left out. Coordinates are kept as they are.
    """
    for root in elements(path, "annotation"):
        shapes = []
        for at, entry in enumerate(root.findall("object")):
            where = f"{path}: object {at}"
            if (entry.findtext("deleted") or "0").strip() == "1":
                out.add("other-shape", where, "deleted")
            elif found := out.attempt("bad-region", where, partial(_voc, entry)):
                shapes.append(found)
        size = size_of(root.findtext("size/width"), root.findtext("size/height"))
        name = (root.findtext("filename") or "").strip() or path.stem
        yield Labelled(name, shapes, str(path), size, by_stem=True)
        return
    raise DataError("bad-label-file", f"{path}: it has no <annotation>, as Pascal VOC's have")


def _voc(entry: Element) -> Shape:
    details = {child.tag: child.text for child in entry if not len(child)}
    details |= {
        one.findtext("name") or "": one.findtext("value") for one in entry.findall("attributes/*")
    }
    label = (entry.findtext("name") or "").strip()
    if (turned := entry.find("robndbox")) is not None:
        x, y, width, height, angle = (
            number(turned.findtext(name)) for name in ("cx", "cy", "w", "h", "angle")
        )
        return shape(turned_box((x, y), width, height, angle), label, [details], "turned box")
    if (polygon := entry.find("polygon")) is not None:
        points: list[tuple[str | None, str | None]] = []
        points += [(one.findtext("x"), one.findtext("y")) for one in polygon.findall("pt")]
        while (x_text := polygon.findtext(f"x{len(points) + 1}")) is not None:
            points.append((x_text, polygon.findtext(f"y{len(points) + 1}")))
        return shape(outline(points), label, [details])
    corners = entry.find("bndbox")
    if corners is None:
        raise Malformed("neither bndbox, robndbox nor polygon")
    values = box(*(corners.findtext(name) for name in ("xmin", "ymin", "xmax", "ymax")))
    return shape(values, label, [details], "box")


def read_via(path: Path, out: LeftOut) -> Iterator[Labelled]:
    """The pictures of an export of VIA 1 or 2, a saved project, or its CSV.

    Text and ignoring are region attributes, under the names that CVAT's have.
    """
    if path.suffix.lower() == ".csv":
        yield from _via_rows(path, out)
        return
    document = load_json(path)
    if isinstance(document, dict):
        document = document.get("_via_img_metadata", document)
    if not isinstance(document, dict):
        raise DataError("bad-label-file", f"{path}: it is no JSON object of pictures, as VIA's")
    for key, entry in document.items():
        where = f"{path}: {key[:200]}"
        if not isinstance(entry, dict) or not text_of(entry.get("filename")):
            out.add("bad-picture-entry", where, "no filename")
            continue
        regions = entry.get("regions")
        regions = list(regions.values()) if isinstance(regions, dict) else regions or []
        yield Labelled(text_of(entry["filename"]), _via_shapes(regions, where, out), where)


def _via_rows(path: Path, out: LeftOut) -> Iterator[Labelled]:
    text = read_text(path, "label file", _MOST_BYTES)
    csv.field_size_limit(1 << 24)
    rows = csv.DictReader(io.StringIO(text))
    try:
        for name, group in groupby(rows, lambda row: row.get("#filename") or row.get("filename")):
            where = f"{path}: {name}"
            regions = [found for row in group if (found := _via_row(row, where, out)) is not None]
            if name:
                yield Labelled(name, _via_shapes(regions, where, out), where)
    except csv.Error as error:
        raise DataError("bad-label-file", f"{path}: {error}") from error


def _via_row(row: Mapping[str, str], where: str, out: LeftOut) -> dict[str, Any] | None:
    if (row.get("region_shape_attributes") or "{}").strip() == "{}":
        return None  # a picture without regions
    return out.attempt("bad-region", where, partial(_via_columns, row))


def _via_columns(row: Mapping[str, str]) -> dict[str, Any]:
    geometry, attributes = row["region_shape_attributes"], row.get("region_attributes") or "{}"
    return {"shape_attributes": loads(geometry), "region_attributes": loads(attributes)}


def _via_shapes(regions: Any, where: str, out: LeftOut) -> list[Shape]:
    shapes = []
    for at, entry in enumerate(regions if isinstance(regions, list) else [regions]):
        outer = entry.get("shape_attributes") if isinstance(entry, dict) else None
        kind = outer.get("name") if isinstance(outer, dict) else None
        place = f"{where}: region {at}"
        if str(kind) in {"circle", "ellipse", "polyline", "line", "point"}:
            out.add("other-shape", place, f"a {kind}")
        elif found := out.attempt("bad-region", place, partial(_via, entry)):
            shapes.append(found)
    return shapes


def _via(entry: Any) -> Shape:
    geometry = mapping(mapping(entry, "a region").get("shape_attributes"), "shape_attributes")
    attributes = mapping(entry.get("region_attributes") or {}, "region_attributes")
    # A check box of VIA's is {"yes": true}.
    ticked = {key: any(v.values()) if isinstance(v, dict) else v for key, v in attributes.items()}
    label = text_of(ticked.get("label") or ticked.get("name") or ticked.get("class"))
    if geometry.get("name") == "rect":
        left, top, width, height = (number(geometry.get(n)) for n in ("x", "y", "width", "height"))
        return shape(box(left, top, left + width, top + height), label, [ticked], "rectangle")
    if geometry.get("name") != "polygon":
        raise Malformed(f"shape {str(geometry.get('name'))[:40]!r} is not known")
    xs = sequence(geometry.get("all_points_x"), "all_points_x")
    ys = sequence(geometry.get("all_points_y"), "all_points_y")
    if len(xs) != len(ys):
        raise Malformed(f"{len(xs)} x and {len(ys)} y")
    return shape(outline(list(zip(xs, ys, strict=True))), label, [ticked])
