"""Writing a set as ICDAR2015's lines, a datalist, COCO or PaddleOCR's list, a picture at a time."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Protocol, TextIO

import numpy as np

from ocdnet.data.coco_file import CocoFile
from ocdnet.data.formats.labelled import Malformed, Shape
from ocdnet.data.look import IGNORE_TAGS
from ocdnet.data.readings import Evidence, Tail
from ocdnet.errors import printable

IGNORED = "###"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_ODD = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_NAME = 255
_is_tag = Evidence(frozenset(IGNORE_TAGS)).is_tag


class Picture(NamedTuple):
    """A picture to be written.

    Attributes:
        path: its file.
        size: width and height as a viewer shows it.
        shapes: its regions, in those pixels.
    """

    path: str
    size: tuple[int, int]
    shapes: Sequence[Shape]


class Writer(Protocol):
    """Writes one split."""

    def add(self, picture: Picture) -> None:
        """Write a picture and its labels; raises Malformed where it can't be written."""
        ...

    def close(self) -> None:
        """Write the rest."""
        ...


def point_text(value: float) -> str:
    """A coordinate to a hundredth of a pixel, without a fraction of nought."""
    near = round(value, 2) + 0.0  # no -0
    return f"{near:.2f}".rstrip("0").rstrip(".")


def icdar_line(shape: Shape) -> str:
    """A region as `x1,y1,...,x4,y4,text`, or as `x1 y1 ... xN yN<tab>text`.

    The second form, Uber-Text's, is taken for outlines, and for texts that a reader of the first
    one could take for more corners or a column (`12,50`): it is never in doubt.
    """
    text = IGNORED if shape.ignore else _CONTROL.sub(" ", shape.text).strip()
    if not shape.ignore and _is_tag(text):
        text = ""
    points = [point_text(value) for value in shape.values]
    comma = "," in text
    risky = comma and (Tail.of(text).numbers or _is_tag(text.partition(",")[2].strip()))
    if len(points) == 8 and not risky:
        return ",".join([*points, text])
    # There a last point that repeats the first is dropped: begin elsewhere.
    turns = (points[at:] + points[:at] for at in range(0, len(points), 2))
    fit = next((turn for turn in turns if turn[:2] != turn[-2:]), None)
    if fit is None:
        raise Malformed("a region without extent")
    return f"{' '.join(fit)}\t{text}"


class _Names:
    """Names of files in one folder: no two with the same stem, in any case."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, path: str) -> str:
        stem, suffix = os.path.splitext(_ODD.sub("_", printable(os.path.basename(path))))  # noqa: PTH119, PTH122
        name, number = stem, 1
        while name.casefold() in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name.casefold())
        return name + suffix


class _Images:
    """A folder of copied, or linked, pictures."""

    def __init__(self, folder: Path, link: bool) -> None:
        self._folder, self._link, self._names = folder, link, _Names()
        folder.mkdir(parents=True)

    def put(self, path: str) -> str:
        """The name under which a picture now lies in the folder, byte for byte."""
        name = self._names.take(path)
        target = self._folder / name
        if self._link:
            try:
                os.link(os.path.realpath(path), target)
            except OSError:  # another disk, or one without links
                shutil.copyfile(path, target)
        else:
            shutil.copyfile(path, target)
        return name


class _Icdar:
    """img/ and gt/."""

    def __init__(self, root: Path, link: bool) -> None:
        self._images, self._labels = _Images(root / "img", link), root / "gt"
        self._labels.mkdir()

    def add(self, picture: Picture) -> None:
        text = "".join(f"{icdar_line(shape)}\n" for shape in picture.shapes)
        stem = os.path.splitext(self._images.put(picture.path))[0]  # noqa: PTH122
        _write(self._labels / _label_name(stem), text)

    def close(self) -> None:
        pass


def _label_name(stem: str) -> str:
    name = f"gt_{stem}.txt"
    return name if len(name.encode()) <= _LONGEST_NAME else f"{stem}.txt"


def _write(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8", newline="\n") as file:
        file.write(text)


class _Datalist:
    """gt/ and datalist.txt, which names the pictures where they are."""

    def __init__(self, root: Path, link: bool) -> None:
        self._labels, self._names = root / "gt", _Names()
        self._labels.mkdir(parents=True)
        self._list = _opened(root / "datalist.txt")

    def add(self, picture: Picture) -> None:
        path = os.path.abspath(picture.path)  # noqa: PTH100 (links stay)
        if _ODD.search(path) or path != printable(path) or path != path.strip():
            raise Malformed("its path holds what a list can't")
        name = _label_name(os.path.splitext(self._names.take(path))[0])  # noqa: PTH122
        text = "".join(f"{icdar_line(shape)}\n" for shape in picture.shapes)
        _write(self._labels / name, text)
        self._list.write(f"{path}\tgt/{name}\n")

    def close(self) -> None:
        self._list.close()


class _PaddleOcr:
    """images/ and Label.txt."""

    def __init__(self, root: Path, link: bool) -> None:
        self._images = _Images(root / "images", link)
        self._list = _opened(root / "Label.txt")

    def add(self, picture: Picture) -> None:
        regions = [
            {
                "transcription": IGNORED if one.ignore else _no_tag(one.text),
                "points": _pairs(one.values),
                "difficult": one.ignore,
            }
            for one in picture.shapes
        ]
        name = self._images.put(picture.path)
        self._list.write(f"images/{name}\t{json.dumps(regions, ensure_ascii=False)}\n")

    def close(self) -> None:
        self._list.close()


def _no_tag(text: str) -> str:
    return "" if text.strip() in IGNORE_TAGS else text


def _rounded(values: Sequence[float]) -> list[float]:
    near = (round(value, 2) for value in values)
    return [int(value) if value == int(value) else value for value in near]


def _pairs(values: Sequence[float]) -> list[list[float]]:
    points = _rounded(values)
    return [points[at : at + 2] for at in range(0, len(points), 2)]


class _Coco:
    """images/ and annotations/instances_default.json; the text of a region is its `text`."""

    def __init__(self, root: Path, link: bool) -> None:
        self._images = _Images(root / "images", link)
        folder = root / "annotations"
        folder.mkdir()
        self._file = _opened(folder / "instances_default.json")
        self._later = tempfile.TemporaryFile("w+", encoding="utf-8", dir=folder)  # noqa: SIM115
        self._data = CocoFile(self._file, self._later, "Converted by ocdnet data convert")

    def add(self, picture: Picture) -> None:
        self._data.add_image(self._images.put(picture.path), picture.size)
        for one in picture.shapes:
            text = one.text if one.ignore else _no_tag(one.text)
            points = np.array(one.values).round(2).reshape(-1, 2)
            self._data.add_region(points, ignore=one.ignore, text=text)

    def close(self) -> None:
        self._data.close()
        self._later.close()
        self._file.close()


def _opened(path: Path) -> TextIO:
    return path.open("x", encoding="utf-8", newline="\n")


WRITERS: dict[str, tuple[Callable[[Path, bool], Writer], str]] = {
    "icdar2015": (_Icdar, ""),
    "datalist": (_Datalist, "datalist.txt"),
    "coco": (_Coco, "annotations/instances_default.json"),
    "paddleocr": (_PaddleOcr, "Label.txt"),
}
"""By the name of the format: its writer, and what of a split's folder a reader of it is given."""


class Writers:
    """The writers of a set's splits, each below its own folder; of one without, in the root."""

    def __init__(self, form: str, root: Path, link: bool) -> None:
        self._make, self._root, self._link = WRITERS[form][0], root, link
        self._open: dict[str, Writer] = {}
        self.counts: dict[str, int] = {}

    def add(self, split: str, picture: Picture) -> None:
        """Write a picture; raises as `Writer.add`."""
        if split not in self._open:
            self._open[split] = self._make(self._root / split, self._link)
        self._open[split].add(picture)
        self.counts[split] = self.counts.get(split, 0) + 1

    def close(self) -> None:
        """Write the rest of each, all of them whatever happens to one."""
        with ExitStack() as closing:
            for writer in self._open.values():
                closing.callback(writer.close)
