"""Pictures by the lines that a run wrote of them: explained.jsonl, predictions.jsonl."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from ocdnet.data.reading import FilePage
from ocdnet.errors import DataError
from ocdnet.files import open_regular
from ocdnet.runs.explained import LONGEST_LINE, ExplainedImage
from ocdnet.runs.pages import PageRecord
from ocdnet.runs.parsing import loads, parse
from ocdnet.view.sets import Mark, common_folder, shown_name
from ocdnet.view.shapes import (
    IGNORED,
    MISTAKES,
    NO_TEXT,
    NOT_READ,
    NOTHING_FOUND,
    Details,
    Shape,
    bits_of,
    counted,
)

R = TypeVar("R", ExplainedImage, PageRecord)


class _Lines(Generic[R]):
    """The lines of a file, of which only places and pictures' names are held.

    Args:
        path: the file; it may be replaced while it is read here.
        kind: the record of a line.

    Attributes:
        folder: that holds the file.
        left_out: lines that are none of ours.

    Raises:
        DataError: it can't be read.
    """

    predicted = True

    def __init__(self, path: Path, kind: type[R]) -> None:
        self._path, self.folder = path, path.parent
        self._kind: type[R] = kind
        self._starts, self._images = array("q"), list[str]()
        self._pages: dict[int, int] = {}
        self.left_out, self._lock = 0, threading.Lock()
        try:
            self._file = open_regular(path)
            self._index()
        except OSError as error:
            raise DataError("unreadable-file", f"Cannot read {path}: {error.strerror}") from error
        self._cut = common_folder(self._images)

    def _index(self) -> None:
        at = 0
        with open(self._file.fileno(), "rb", closefd=False) as lines:
            for line in iter(lambda: lines.readline(LONGEST_LINE), b""):
                image, page = _named(line)
                if image is None:
                    self.left_out += bool(line.strip())
                else:
                    if page is not None:
                        self._pages[len(self._images)] = page
                    self._starts.append(at)
                    self._images.append(image)
                at += len(line)

    def __len__(self) -> int:
        return len(self._images)

    def name(self, number: int) -> str:
        """The path below the folder that all have in common."""
        return shown_name(self._images[number][self._cut :], self._pages.get(number))

    def file(self, number: int) -> FilePage:
        """The file that the line names, and the page of it."""
        return FilePage(Path(self._images[number]), self._pages.get(number))

    def details(self, number: int) -> Details:
        """What the line says."""
        try:
            return self._details(self._record(number))
        except (DataError, ValueError, OSError):
            return Details(error=f"A line of {self._path} is not as this program writes it")

    def survey(self, mark: Mark) -> None:
        """Read all lines."""
        for number in range(len(self)):
            try:
                record = self._record(number)
            except (DataError, ValueError, OSError):
                mark(number, bits_of([NOT_READ]), 0)
            else:
                mark(number, *self._marks(record))

    def _record(self, number: int) -> R:
        """Of the line that begins at its place; from any thread."""
        last = number + 1 == len(self._starts)
        end = self._starts[number] + LONGEST_LINE if last else self._starts[number + 1]
        start = self._starts[number]
        with self._lock:
            self._file.seek(start)
            line = self._file.read(end - start).split(b"\n", 1)[0]
        found: R = parse(self._kind, loads(line), self._path.name)
        return found

    def _details(self, record: R) -> Details:
        raise NotImplementedError

    def _marks(self, record: R) -> tuple[int, int]:
        raise NotImplementedError


class Evaluated(_Lines[ExplainedImage]):
    """The pictures of an evaluation: labels, what was found, and every mistake.

    Args:
        path: explained.jsonl.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, ExplainedImage)
        self.what = counted(len(self), " of an evaluation")

    def _details(self, record: ExplainedImage) -> Details:
        return Details(
            labels=[
                Shape(one.polygon, one.role, one.kind, one.iou, one.score) for one in record.labels
            ],
            regions=[
                Shape(one.polygon, one.role, one.kind, one.iou, one.score) for one in record.regions
            ],
        )

    def _marks(self, record: ExplainedImage) -> tuple[int, int]:
        return bits_of(_marks_of(record)), record.mistakes


class Predicted(_Lines[PageRecord]):
    """The pictures of `ocdnet predict` or inference, and what was found in them.

    Args:
        path: predictions.jsonl.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, PageRecord)
        self.what = counted(len(self), " that were looked at")

    def _details(self, record: PageRecord) -> Details:
        if record.error is not None:
            return Details(error=record.error.message)
        return Details(
            regions=[
                Shape(
                    [value for point in one.polygon for value in point], "region", score=one.score
                )
                for one in record.regions
            ]
        )

    def _marks(self, record: PageRecord) -> tuple[int, int]:
        if record.error is not None:
            return bits_of([NOT_READ]), 0
        return (0 if record.regions else bits_of([NOTHING_FOUND])), 0


def _marks_of(record: ExplainedImage) -> Iterator[str]:
    """The marks of a picture, some of them repeatedly."""
    for label in record.labels:
        if label.role == "ignored":
            yield IGNORED
        elif label.kind is not None:
            yield f"missed:{label.kind}"
    for region in record.regions:
        if region.role == "false" and region.kind is not None:
            yield f"false:{region.kind}"
    if record.mistakes:
        yield MISTAKES
    if not record.labels:
        yield NO_TEXT
    if all(region.role == "low" for region in record.regions):
        yield NOTHING_FOUND


def _named(line: bytes) -> tuple[str | None, int | None]:
    """The picture of a line, and its page; None: it is no line of ours."""
    try:
        row: Any = loads(line)
    except ValueError:
        return None, None
    image = row.get("image") if isinstance(row, dict) else None
    page = row.get("page") if isinstance(row, dict) else None
    numbered = type(page) is int and page >= 0
    return (image if isinstance(image, str) else None), (page if numbered else None)
