"""Pictures by their numbers: files with or without label files, or with what inference wrote."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeAlias

from ocdnet.data.annotations import is_sound
from ocdnet.data.label_reader import LabelReader, Region, read_set
from ocdnet.data.labels import instances
from ocdnet.data.look import IGNORE_TAGS, LOOKED_AT
from ocdnet.data.reading import FilePage
from ocdnet.data.readings import PLAIN, Reading
from ocdnet.errors import DataError, printable
from ocdnet.view.shapes import (
    BAD_LABELS,
    DOUBTFUL,
    IGNORED,
    NO_LABELS,
    NO_TEXT,
    NOTHING_FOUND,
    Details,
    Shape,
    bits_of,
    counted,
)

_LONGEST_NAME = 1000

Mark: TypeAlias = Callable[[int, int, int], None]
"""Takes a picture's number, its marks as bits, and how many mistakes it has."""


class PictureSet(Protocol):
    """Pictures that are asked for by their numbers, from 0.

    Attributes:
        what: how many there are, and of what kind.
        predicted: whether it is known what was found in them.
    """

    what: str
    predicted: bool

    def __len__(self) -> int: ...

    def name(self, number: int) -> str:
        """What the page calls a picture."""
        ...

    def file(self, number: int) -> FilePage:
        """What is read for a picture."""
        ...

    def details(self, number: int) -> Details:
        """What is known of a picture; never raises for what is wrong with it."""
        ...

    def survey(self, mark: Mark) -> None:
        """Look at all pictures' labels or records; tell their marks, some of them twice."""
        ...


@dataclass
class Part:
    """Pictures whose label lines are read alike: those of one split folder or list.

    Attributes:
        files: paths.
        beside: of each, the path of its labels, or of what was found in it; None: it has none.
        pages: of the files that have several, by their place: their numbers from 0.
        reading: of the lines.
    """

    files: list[str]
    beside: list[str | None]
    pages: dict[int, int] = field(default_factory=dict)
    reading: Reading = PLAIN

    def settle(self) -> None:
        """Decide by the first labels how lines are read; the survey decides it by all."""
        self.read(lambda *_: None, LOOKED_AT)

    def read(self, see: Callable[[int, list[Region] | None, bool], None], most: int | None) -> None:
        """Read labels, and settle how their lines are read.

        Args:
            see: told of each picture its place, its regions (None: they can't be read), and
                whether they are doubtful; a second time where the reading changes.
            most: pictures that are looked at; None: all.
        """
        reading = self.reading
        places: Iterator[int] = iter(())

        def start(form: Reading) -> LabelReader:
            nonlocal reading, places
            reading = form
            places = (place for place, _, _ in self._labelled(most))
            return LabelReader(IGNORE_TAGS, form, is_sound)

        def read(reader: LabelReader, pair: tuple[str, str]) -> None:
            place, before = next(places), reader.doubts.total
            try:
                regions = reader.read(*pair)
            except DataError:
                see(place, None, False)
            else:
                see(place, regions, reader.doubts.total > before)

        read_set(_Again(lambda: ((f, b) for _, f, b in self._labelled(most))), start, read)
        self.reading = reading

    def _labelled(self, most: int | None) -> Iterator[tuple[int, str, str]]:
        rows = zip(self.files, self.beside, strict=True)
        there = ((n, file, label) for n, (file, label) in enumerate(rows) if label is not None)
        return islice(there, most)


class _Again:
    """Pairs that can be gone through twice, none of them held."""

    def __init__(self, pairs: Callable[[], Iterator[tuple[str, str]]]) -> None:
        self._pairs = pairs

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return self._pairs()


class _Files:
    """Names and files of pictures in several parts."""

    def __init__(self, parts: list[Part]) -> None:
        self._parts = parts
        self._cut = common_folder(file for part in parts for file in part.files)

    def __len__(self) -> int:
        return sum(len(part.files) for part in self._parts)

    def _place(self, number: int) -> tuple[Part, int]:
        for part in self._parts:
            if number < len(part.files):
                return part, number
            number -= len(part.files)
        raise IndexError(number)

    def name(self, number: int) -> str:
        """The path below the folder that all have in common."""
        part, place = self._place(number)
        return shown_name(part.files[place][self._cut :], part.pages.get(place))

    def file(self, number: int) -> FilePage:
        """The file, and the page of it."""
        part, place = self._place(number)
        return FilePage(Path(part.files[place]), part.pages.get(place))


class Labelled(_Files):
    """Pictures with label files, or without: as `ocdnet data check` reads them.

    Args:
        parts: of the set.
    """

    predicted = False

    def __init__(self, parts: list[Part]) -> None:
        super().__init__(parts)
        labelled = sum(label is not None for part in parts for label in part.beside)
        rest = "" if not labelled else ", with labels"
        if 0 < labelled < len(self):
            rest = f", {labelled:,} of them with labels"
        self.what = counted(len(self), rest)
        for part in parts:
            part.settle()

    def details(self, number: int) -> Details:
        """The labels of a picture, read now."""
        part, place = self._place(number)
        label = part.beside[place]
        if label is None:
            return Details()
        reader = LabelReader(IGNORE_TAGS, part.reading, is_sound)
        try:
            regions = reader.read(part.files[place], label)
        except DataError as error:
            return Details(error=_said(error))
        shapes = [
            Shape(r.values, "ignored" if r.tagged or r.flat else "label", text=r.text)
            for r in regions
        ]
        return Details(labels=shapes, doubts=reader.doubts.messages())

    def survey(self, mark: Mark) -> None:
        """Read all labels."""
        start, without = 0, bits_of([NO_LABELS])
        for part in self._parts:
            for place, label in enumerate(part.beside):
                if label is None:
                    mark(start + place, without, 0)

            def see(
                place: int, regions: list[Region] | None, doubtful: bool, start: int = start
            ) -> None:
                mark(start + place, _marks(regions, doubtful), 0)

            part.read(see, None)
            start += len(part.files)


class Written(_Files):
    """Pictures with the text files that inference wrote of them, a region a line.

    Args:
        parts: of them.
    """

    predicted = True

    def __init__(self, parts: list[Part]) -> None:
        super().__init__(parts)
        self.what = counted(len(self), " that inference looked at")

    def details(self, number: int) -> Details:
        """The regions of a picture, read now."""
        part, place = self._place(number)
        try:
            return Details(regions=_regions(part.beside[place]))
        except DataError as error:
            return Details(error=_said(error))

    def survey(self, mark: Mark) -> None:
        """Look for pictures in which nothing was found."""
        for number in range(len(self)):
            details = self.details(number)
            if details.error:
                mark(number, bits_of([BAD_LABELS]), 0)
            else:
                mark(number, 0 if details.regions else bits_of([NOTHING_FOUND]), 0)


def _regions(path: str | None) -> list[Shape]:
    shapes = []
    for row in instances(path or ""):
        try:
            score = float(row.text)
        except ValueError:
            score = None
        shapes.append(Shape(row.values, "region", score=score))
    return shapes


def _marks(regions: list[Region] | None, doubtful: bool) -> int:
    if regions is None:
        return bits_of([BAD_LABELS])
    marks = [DOUBTFUL] if doubtful else []
    if any(region.tagged or region.flat for region in regions):
        marks.append(IGNORED)
    if not regions:
        marks.append(NO_TEXT)
    return bits_of(marks)


def _said(error: DataError) -> str:
    return f"{error.message}. {error.hint}" if error.hint else error.message


def shown_name(path: str, page: int | None) -> str:
    """What the page calls a picture, or a page of it."""
    name = printable(path)[:_LONGEST_NAME]
    return name if page is None else f"{name} (page {page + 1})"


def common_folder(files: Iterable[str]) -> int:
    """How long the folder is that files have in common, with what separates it."""
    try:
        shared = os.path.commonpath({os.path.dirname(file) for file in files})  # noqa: PTH120
    except ValueError:  # none, relative and absolute ones, or several drives
        return 0
    return len(shared) + (not shared.endswith(os.sep)) if shared else 0
