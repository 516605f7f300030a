"""COCO's instances, and COCO-Text: one JSON file for all pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

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
)
from ocdnet.data.formats.left_out import LeftOut
from ocdnet.data.formats.masks import outlines_of
from ocdnet.data.formats.structured import load_json
from ocdnet.errors import DataError


def read(path: Path, out: LeftOut) -> Iterator[Labelled]:
    """The pictures of a file of COCO's instances.

    Each polygon of an annotation is a region of its own, with the annotation's text; so is each
    part of a mask (RLE). Without segmentation, or an empty one, the `bbox` is the region.
    `iscrowd` is ignored text. The text is under `text`, `transcription`, `utf8_string` or
    `caption`, in the annotation or its `attributes`.
    """
    document = load_json(path)
    if not isinstance(document, dict) or not isinstance(document.get("images"), list):
        raise DataError("bad-label-file", f"{path}: it has no list `images`, as COCO's have")
    try:
        classes = {
            str(entry.get("id")): text_of(entry.get("name"))
            for entry in sequence(document.get("categories", []), "categories")
            if isinstance(entry, dict)
        }
        annotations = _by_image(sequence(document.get("annotations"), "annotations"), path, out)
    except Malformed as error:
        raise DataError("bad-label-file", f"{path}: {error}") from error
    for at, image in enumerate(document["images"]):
        where = f"{path}: images[{at}]"
        name = text_of(image.get("file_name")) if isinstance(image, dict) else ""
        if not name:
            out.add("bad-picture-entry", where, "no file_name")
            continue
        found = annotations.pop(str(image.get("id")), [])
        shapes = [one for entry in found for one in _shapes(entry, classes, path, out)]
        size = size_of(image.get("width"), image.get("height"))
        yield Labelled(name, shapes, where, size)
    for image_id, entries in annotations.items():
        out.add("bad-region", f"{path}: image_id {image_id[:40]}", f"no such image: {len(entries)}")


def _by_image(
    entries: Sequence[Any], path: Path, out: LeftOut
) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for at, entry in enumerate(entries):
        if isinstance(entry, dict):
            found[str(entry.get("image_id"))].append(entry)
        else:
            out.add("bad-region", f"{path}: annotations[{at}]", "no JSON object")
    return found


def _shapes(
    entry: Mapping[str, Any], classes: Mapping[str, str], path: Path, out: LeftOut
) -> Iterator[Shape]:
    where = f"{path}: annotation {str(entry.get('id'))[:40]}"
    attributes = entry.get("attributes") if isinstance(entry.get("attributes"), dict) else {}
    label = classes.get(str(entry.get("category_id")), "")
    plain = shape([], label, [attributes or {}, entry])
    parts = out.attempt("bad-region", where, partial(_parts, entry))
    for kind, part in parts or ():
        if values := out.attempt("bad-region", where, partial(outline, part)):
            yield plain._replace(values=values, kind=kind)


def _parts(entry: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The outlines of an annotation, not yet checked, and what they were."""
    segmentation = entry.get("segmentation")
    if isinstance(segmentation, dict):
        return [("rle", part) for part in outlines_of(segmentation)]
    if segmentation:
        parts = sequence(segmentation, "segmentation")
        flat = isinstance(parts[0], int | float)
        return [("polygon", part) for part in ([parts] if flat else parts)]
    left, top, width, height = _four(entry.get("bbox"))
    return [("box", box(left, top, left + width, top + height))]


def _four(value: Any) -> list[float]:
    values = [number(item) for item in sequence(value, "bbox")]
    if len(values) != 4:
        raise Malformed(f"bbox has {len(values)} numbers")
    return values


def read_text(path: Path, out: LeftOut) -> Iterator[Labelled]:
    """The pictures of COCO-Text: text that is not `legible` is ignored; `set` is the split."""
    document = load_json(path)
    try:
        images = mapping(mapping(document, "the document").get("imgs"), "imgs")
        entries = mapping(document.get("anns"), "anns")
    except Malformed as error:
        raise DataError("bad-label-file", f"{path}: {error}") from error
    annotations = _by_image(list(entries.values()), path, out)
    for key, image in images.items():
        where = f"{path}: imgs[{key[:40]}]"
        name = text_of(image.get("file_name")) if isinstance(image, dict) else ""
        if not name:
            out.add("bad-picture-entry", where, "no file_name")
            continue
        shapes = []
        for entry in annotations.pop(str(image.get("id", key)), []):
            at = f"{path}: anns[{str(entry.get('id'))[:40]}]"
            if found := out.attempt("bad-region", at, partial(_text_region, entry)):
                shapes.append(found)
        size = size_of(image.get("width"), image.get("height"))
        yield Labelled(name, shapes, where, size, split=text_of(image.get("set")))


def _text_region(entry: Mapping[str, Any]) -> Shape:
    points = entry.get("mask") or entry.get("polygon")
    if points:
        return shape(outline(points), "", [entry])
    left, top, width, height = _four(entry.get("bbox"))
    return shape(box(left, top, left + width, top + height), "", [entry], "box")
