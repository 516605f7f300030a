"""The records of many pictures in one file: JSON lines, and COCO's form of them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ocdnet.data.coco_file import CocoFile
from ocdnet.files import replacing
from ocdnet.runs.pages import PageRecord
from ocdnet.runs.typed import to_json

Sink: TypeAlias = Callable[[PageRecord], None]
"""Takes the pictures' records one after the other, and holds none of them."""


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
        data = CocoFile(file, later, "Text found by ocdnet predict or inference")

        def add(record: PageRecord) -> None:
            if record.error is None:
                page = {} if record.page is None else {"page": record.page}
                data.add_image(record.image, (record.width, record.height), **page)
                for region in record.regions:
                    crop: dict[str, Any] = {} if region.crop is None else {"crop": region.crop}
                    points = np.array(region.polygon, np.float64)
                    data.add_region(points, score=region.score, **crop)

        yield add
        data.close()
