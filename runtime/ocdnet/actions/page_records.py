"""The records of many pictures in one file: JSON lines, and COCO's form of them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

from ocdnet.files import replacing
from ocdnet.geometry import area
from ocdnet.runs.pages import PageRecord, Region
from ocdnet.runs.typed import to_json

Sink: TypeAlias = Callable[[PageRecord], None]
"""Takes the pictures' records one after the other, and holds none of them."""

_TEXT = 1
"""COCO's number of the only category."""
_COPIED = 1 << 20


def line(record: PageRecord) -> str:
    """A record as a line of JSON."""
    return json.dumps(to_json(record), allow_nan=False) + "\n"


@contextmanager
def json_lines(path: Path) -> Iterator[Sink]:
    """Write a line a picture; the file takes its place, whole, when the block succeeds."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:

        def add(record: PageRecord) -> None:
            file.write(line(record))

        yield add


@contextmanager
def coco(path: Path) -> Iterator[Sink]:
    """Write a data set in COCO's form, which pycocotools loads; the file is whole or not there.

    Pictures that could not be read are left out. Numbers of images and annotations begin at 1.
    """
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8") as file,
        tempfile.TemporaryFile("w+", encoding="utf-8", dir=path.parent) as later,
    ):
        data = _Coco(file, later)
        yield data.add
        data.close()


class _Coco:
    """Writes images at once, and annotations to a second file whose content follows them.

    Args:
        file: the data set.
        later: a temporary file.
    """

    def __init__(self, file: IO[str], later: IO[str]) -> None:
        self._file, self._later = file, later
        self._images = self._annotations = 0
        about = {"description": "Text found by ocdnet predict or inference"}
        categories = [{"id": _TEXT, "name": "text", "supercategory": "text"}]
        file.write(f'{{"info": {json.dumps(about)},\n"categories": {json.dumps(categories)},\n')
        file.write('"images": [')

    def add(self, record: PageRecord) -> None:
        if record.error is not None:
            return
        self._images += 1
        image = {
            "id": self._images,
            "file_name": record.image,
            "width": record.width,
            "height": record.height,
            **({} if record.page is None else {"page": record.page}),
        }
        self._file.write(_item(self._images, image))
        for region in record.regions:
            self._annotations += 1
            row = {"id": self._annotations, "image_id": self._images, **_annotation(region)}
            self._later.write(_item(self._annotations, row))

    def close(self) -> None:
        self._file.write('\n],\n"annotations": [')
        self._later.seek(0)
        while part := self._later.read(_COPIED):
            self._file.write(part)
        self._file.write("\n]}\n")


def _item(number: int, row: dict[str, Any]) -> str:
    """An entry of a list, the first of which has number 1."""
    return f"{',' if number > 1 else ''}\n{json.dumps(row, allow_nan=False)}"


def _annotation(region: Region) -> dict[str, Any]:
    points = np.array(region.polygon, np.float64)
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return {
        "category_id": _TEXT,
        "segmentation": [[value for point in region.polygon for value in point]],
        "bbox": [left, top, round(right - left, 2), round(bottom - top, 2)],
        "area": round(area(points), 2),
        "iscrowd": 0,
        "score": region.score,
        **({} if region.crop is None else {"crop": region.crop}),
    }
