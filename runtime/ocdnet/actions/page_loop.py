"""Pictures through a detector, a record for each: what `ocdnet predict` and inference share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import tee
from pathlib import Path

from ocdnet import findings
from ocdnet.actions.page_files import PageFiles
from ocdnet.actions.page_records import Sink, coco, json_lines
from ocdnet.data.reading import FilePage
from ocdnet.detector import Detector
from ocdnet.errors import DataError
from ocdnet.page import Page
from ocdnet.runs.pages import PageRecord
from ocdnet.runs.printed import Problem

LOG = logging.getLogger("ocdnet")
_SHOWN = 10
LEFT_OUT = "Images that cannot be read were left out"


@dataclass(frozen=True)
class Picture:
    """A picture to look at.

    Attributes:
        page: its file, or the page of it.
        image: what its record calls it.
        name: of its results: relative, without a suffix.
        error: why there is no file to read.
    """

    page: FilePage
    image: str
    name: Path
    error: DataError | None = None


def records(
    detector: Detector,
    pictures: Iterable[Picture],
    write: Callable[[Picture, Page], PageRecord],
    *,
    keeps_going: bool,
) -> Generator[PageRecord, None, None]:
    """The pictures' records, in their order.

    Args:
        detector: finds their text.
        pictures: them; a few are held at a time, however many there are.
        write: writes a picture's files and makes its record; called in threads.
        keeps_going: make a record with an error of a picture that can't be read, instead of
            raising it.

    Raises:
        UserError: as the detector and `write`.
    """
    failed: dict[Picture, DataError] = {}
    pictures, waiting = tee(pictures)
    found = detector.map(
        pictures, _source_of, write, skipped=failed.__setitem__ if keeps_going else None
    )
    for picture, record in found:
        for before in waiting:
            if before is picture:
                break
            yield _failure(before, failed[before])
        yield record
    for before in waiting:
        yield _failure(before, failed[before])


def _source_of(picture: Picture) -> FilePage:
    if picture.error is not None:
        raise picture.error
    return picture.page


def _failure(picture: Picture, error: DataError) -> PageRecord:
    message = error.message.replace(str(picture.page.path), picture.image)
    problem = Problem(**(error.to_dict() | {"message": message}))
    return PageRecord(image=picture.image, page=picture.page.number, error=problem)


@contextmanager
def record_files(files: PageFiles) -> Iterator[list[Sink]]:
    """What takes the records for the files of them all, which are whole when the block succeeds."""
    kinds = [(json_lines, files.json), (coco, files.coco)]
    with ExitStack() as stack:
        yield [stack.enter_context(kind(path)) for kind, path in kinds if path is not None]


@dataclass
class Tally:
    """Counts records, and notes the pictures that could not be read.

    Attributes:
        key: the spec key, if any, that lets them be left out.
        images: that were read.
        regions: found in them.
        skipped: the first of the others, and their problems.
        skipped_images: number of these.
    """

    key: str = ""
    images: int = 0
    regions: int = 0
    skipped: dict[str, Problem] = field(default_factory=dict)
    skipped_images: int = 0

    @property
    def done(self) -> int:
        """Pictures in all."""
        return self.images + self.skipped_images

    def add(self, record: PageRecord) -> None:
        """Count a record."""
        if record.error is None:
            self.images += 1
            self.regions += len(record.regions)
            return
        self.skipped_images += 1
        if len(self.skipped) < _SHOWN:
            self.skipped.setdefault(str(record.image), record.error)
        LOG.info("%s: left out", record.error.message)
        findings.note("left-out", LEFT_OUT, key=self.key, file=record.image)

    def check(self) -> None:
        """Raise DataError where no picture at all could be read."""
        if self.images:
            return
        problems = list(self.skipped.values())
        if self.skipped_images == 1:
            only = problems[0]
            raise DataError(only.code, only.message, only.got, only.expected, only.hint)
        raise DataError(
            "unreadable-image",
            "None of the images can be read",
            got=list(self.skipped),
            expected="undamaged image files",
            hint=problems[0].message,
        )
