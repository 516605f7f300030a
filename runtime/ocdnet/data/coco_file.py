"""A file in COCO's form, of text alone, written a picture at a time."""

from __future__ import annotations

import json
from typing import IO, Any

import numpy as np

from ocdnet.geometry import Points, area

_TEXT = 1
"""COCO's number of the only category."""
_COPIED = 1 << 20


class CocoFile:
    """Writes images at once, and annotations to a second file whose content follows them.

    Numbers of images and annotations begin at 1.

    Args:
        file: the data set.
        later: a temporary file.
        about: what the data set is.
    """

    def __init__(self, file: IO[str], later: IO[str], about: str) -> None:
        self._file, self._later = file, later
        self._images = self._annotations = 0
        categories = [{"id": _TEXT, "name": "text", "supercategory": "text"}]
        file.write(f'{{"info": {json.dumps({"description": about})},\n')
        file.write(f'"licenses": [],\n"categories": {json.dumps(categories)},\n"images": [')

    def add_image(self, name: str | None, size: tuple[int | None, int | None], **more: Any) -> None:
        """Write a picture: its name, width and height, and what else is known of it."""
        self._images += 1
        row = {"id": self._images, "file_name": name, "width": size[0], "height": size[1], **more}
        self._file.write(_item(self._images, row))

    def add_region(self, points: Points, *, ignore: bool = False, **more: Any) -> None:
        """Write a text region, x and y of each point, of the picture that was written last."""
        self._annotations += 1
        outline = np.asarray(points, np.float64)
        (left, top), (right, bottom) = outline.min(axis=0).tolist(), outline.max(axis=0).tolist()
        row = {
            "id": self._annotations,
            "image_id": self._images,
            "category_id": _TEXT,
            "segmentation": [outline.ravel().tolist()],
            "bbox": [left, top, round(right - left, 2), round(bottom - top, 2)],
            "area": round(area(outline), 2),
            "iscrowd": int(ignore),
            **more,
        }
        self._later.write(_item(self._annotations, row))

    def close(self) -> None:
        """Write the rest; the files stay open."""
        self._file.write('\n],\n"annotations": [')
        self._later.seek(0)
        while part := self._later.read(_COPIED):
            self._file.write(part)
        self._file.write("\n]}\n")


def _item(number: int, row: dict[str, Any]) -> str:
    """An entry of a list, the first of which has number 1."""
    return f"{',' if number > 1 else ''}\n{json.dumps(row, allow_nan=False)}"
