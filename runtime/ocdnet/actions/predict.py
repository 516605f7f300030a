"""Predict: the text of any pictures, without a spec."""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from ocdnet.actions.page_files import PageFiles
from ocdnet.actions.page_loop import Picture, Tally, record_files, records
from ocdnet.actions.page_records import Sink
from ocdnet.actions.picture_sources import PictureSources
from ocdnet.actions.result_guard import ResultGuard
from ocdnet.actions.session import cannot_read
from ocdnet.detector import Detector
from ocdnet.errors import Interrupted, RunError, UserError, out_of_memory
from ocdnet.findings import Findings
from ocdnet.hardware import limited
from ocdnet.page import Page
from ocdnet.progress_bar import tracked
from ocdnet.runs.pages import NotShown, PageRecord, PredictResult
from ocdnet.runs.typed import warned

_MOST_PAGES = 10
_MOST_REGIONS = 40
"""Of a summary: 2,000 tokens."""


@dataclass(frozen=True)
class Request:
    """What `ocdnet predict` was asked for.

    Attributes:
        sources: as given on the command line.
        files: what to write, and where.
        recursive: search sub-folders.
        reading_order: put the regions into the order of reading.
        detector: arguments of `Detector`, by name.
    """

    sources: Sequence[str]
    files: PageFiles = field(default_factory=PageFiles)
    recursive: bool = False
    reading_order: bool = False
    detector: dict[str, Any] = field(default_factory=dict)


def run(
    request: Request, findings: Findings, stdin: BinaryIO, printed: Sink | None = None
) -> PredictResult:
    """Find the text of all pictures, and write what was asked for.

    A picture that can't be read becomes a record with an error, and a warning.

    Args:
        request: as above.
        findings: what is collected while this runs.
        stdin: what the source `-` reads.
        printed: takes each picture's record as it is done.

    Raises:
        UserError: a source is missing, no picture can be read, the model can't be used, or a file
            of somebody else's would be written over.
        Interrupted: by SIGINT or SIGTERM. What is written then is whole, and holds all pictures
            that were done.
    """
    tally, shown = Tally(), _Shown()
    with ExitStack() as stack:
        stack.enter_context(_explained())
        stack.enter_context(limited(int(request.detector.get("num_threads", 0))))
        detector = stack.enter_context(Detector(**request.detector))
        sources = PictureSources(request.recursive, lambda: _scratch(stack), stdin)
        pictures = sources.pictures(request.sources)
        guard = ResultGuard(request.files)
        guard.refuse(request.sources, [picture.name for picture in pictures])
        stack.enter_context(guard.recorded())
        takers = [shown.add, *([printed] if printed else [])]
        _detect(request, detector, pictures, tally, takers)
        nested = any(len(picture.name.parts) > 1 for picture in pictures)
    files = request.files
    summary = printed is None and files.folder is None and files.json is None
    return PredictResult(
        **files.names(nested),
        **(shown.fields(tally) if summary else {}),
        warnings=tuple(map(warned, findings.rows())),
        images=tally.images,
        regions=tally.regions,
        skipped=tuple(tally.skipped),
        skipped_images=tally.skipped_images,
        model=detector.model,
        backend=detector.backend,
        size=detector.size,
        resize=detector.resize,
    )


@contextmanager
def _explained() -> Iterator[None]:
    """A UserError where the user can remove the cause."""
    try:
        yield
    except UserError:
        raise
    except KeyboardInterrupt as error:
        raise Interrupted("interrupted", "Interrupted", hint="Run it again.") from error
    except Exception as error:
        fault: UserError | None = cannot_read(error)
        if out_of_memory(error):
            last = (str(error).strip().splitlines() or [""])[-1]
            hint = "Lower --batch-size or --size."
            fault = RunError("out-of-memory", "Memory ran out", got=last[:200] or None, hint=hint)
        if fault is None:
            raise
        raise fault from error


def _detect(
    request: Request,
    detector: Detector,
    pictures: Sequence[Picture],
    tally: Tally,
    takers: Sequence[Sink],
) -> None:
    """Let the tally, the takers, and the files of all pictures have each record."""
    with _stopping() as stopped:
        found = records(detector, pictures, _writer(request), keeps_going=True)
        with closing(found), record_files(request.files) as sinks:
            for record in tracked(found, "detecting", len(pictures)):
                for take in (tally.add, *takers, *sinks):
                    take(record)
                if stopped():
                    break
            if tally.done == len(pictures):
                tally.check()
    if tally.done < len(pictures):
        raise Interrupted(
            "interrupted",
            f"Interrupted: {tally.done} of {len(pictures)} images are done",
            hint="What is written is whole. Run it again for all of them.",
        )


def _writer(request: Request) -> Callable[[Picture, Page], PageRecord]:
    """Writes a picture's files; its record has the picture's own name, wherever it came from."""

    def write(picture: Picture, page: Page) -> PageRecord:
        ordered = page.in_reading_order() if request.reading_order else page
        return replace(request.files.write(picture.name, ordered), image=picture.image)

    return write


def _scratch(stack: ExitStack) -> Path:
    """A new folder that goes when the stack ends."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ocdnet-")))


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Let the first SIGINT or SIGTERM end the work after the picture in hand, a second one at once.

    Yields:
        Whether one came.
    """
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield came.is_set
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in signals}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(*_: object) -> None:
        came.set()
        restore()

    for number in signals:
        signal.signal(number, stop)
    try:
        yield came.is_set
    finally:
        restore()


class _Shown:
    """The first pictures of a run, as far as a summary has room for them."""

    def __init__(self) -> None:
        self._pages: list[PageRecord] = []
        self._regions = 0

    def add(self, record: PageRecord) -> None:
        if len(self._pages) == _MOST_PAGES:
            return
        regions = record.regions[: _MOST_REGIONS - self._regions]
        self._regions += len(regions)
        self._pages.append(replace(record, regions=regions))

    def fields(self, tally: Tally) -> dict[str, Any]:
        """`pages` and `not_shown` of a PredictResult."""
        images = tally.done - len(self._pages)
        regions = tally.regions - self._regions
        more = NotShown(images=images, regions=regions) if images or regions else None
        return {"pages": tuple(self._pages), "not_shown": more}
