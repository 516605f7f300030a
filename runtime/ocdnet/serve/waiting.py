"""Pictures that wait for the network, and the threads that take them through it."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TypeAlias

from ocdnet.detector import Detector
from ocdnet.errors import DataError, RunError, UserError, out_of_memory
from ocdnet.page import Page
from ocdnet.runs.pages import PageRecord
from ocdnet.serve.metrics import Metrics

LOG = logging.getLogger("ocdnet")


Result: TypeAlias = PageRecord | UserError


@dataclass
class Job:
    """A picture on its way.

    Attributes:
        data: the file's bytes.
        reading_order: whether its regions are put in the order of reading.
        result: its record, or the error for which it has none.
    """

    data: bytes
    reading_order: bool
    result: Future[Result] = field(default_factory=Future)


class Waiting:
    """A queue of limited length, and the threads that empty it.

    A place is taken before a picture is received and given back when nothing of it is held any
    more, so that `limit` pictures are all that fills memory, whatever clients do.

    Args:
        limit: places.
        workers: threads; each takes a batch of its own through the network.
        batch: pictures of a batch at most. Nothing waits for a batch to fill: it is what waits
            when a worker is free.
        metrics: counts what is done.
    """

    def __init__(self, limit: int, workers: int, batch: int, metrics: Metrics) -> None:
        self.limit, self.workers, self.batch = limit, workers, batch
        self._metrics = metrics
        self._held = 0
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    @property
    def held(self) -> int:
        """Places that are taken."""
        return self._held

    def take(self, places: int) -> bool:
        """Take places; False, and none is taken, where that many are not free."""
        with self._lock:
            fits = self._held + places <= self.limit
            self._held += places if fits else 0
            return fits

    def give_back(self, places: int) -> None:
        """Give places back that no job was submitted for."""
        with self._lock:
            self._held -= places

    def submit(self, data: bytes, reading_order: bool = False) -> Future[Result]:
        """Let a picture wait, for which a place was taken; cancelling the future leaves it out."""
        job = Job(data, reading_order)
        self._jobs.put(job)
        return job.result

    def seconds(self) -> float:
        """How long what is held will take, as far as one can tell."""
        return self._held * self._metrics.seconds_per_picture() / self.workers

    def start(self, detector: Detector) -> None:
        """Begin to empty the queue."""
        for number in range(self.workers):
            thread = threading.Thread(
                target=self._work, args=(detector,), name=f"worker-{number}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def close(self, seconds: float) -> bool:
        """End the threads once they have done what waits; whether they ended within the time."""
        for _ in self._threads:
            self._jobs.put(None)
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, detector: Detector) -> None:
        going = True
        while going:
            taken: list[Job | None] = [self._jobs.get()]
            try:
                while len(taken) < self.batch and taken[-1] is not None:
                    taken.append(self._jobs.get_nowait())
            except Empty:
                pass
            going = taken[-1] is not None
            jobs = [job for job in taken if job is not None]
            wanted = [job for job in jobs if job.result.set_running_or_notify_cancel()]
            self.give_back(len(jobs) - len(wanted))
            self._run(detector, wanted)

    def _run(self, detector: Detector, jobs: list[Job]) -> None:
        if not jobs:
            return
        began = time.perf_counter()
        try:
            self._detect(detector, jobs)
        except Exception as error:  # noqa: BLE001 - a worker outlives every picture
            left = [job for job in jobs if not job.result.done()]
            if len(jobs) > 1:  # one of them may be the cause
                for job in left:
                    self._run(detector, [job])
            else:
                self._fail(left, error)
            return
        self._metrics.batch(time.perf_counter() - began)

    def _detect(self, detector: Detector, jobs: list[Job]) -> None:
        def unreadable(job: Job, error: DataError) -> None:
            self._fail([job], error)

        for job, record in detector.map(
            jobs, lambda job: job.data, _record, batch_size=self.batch, skipped=unreadable
        ):
            self._metrics.picture(len(record.regions))
            self.give_back(1)  # before the client knows: it may send the next one at once
            job.result.set_result(record)

    def _fail(self, jobs: list[Job], error: Exception) -> None:
        if not isinstance(error, UserError):
            LOG.error("A picture failed", exc_info=error)
            memory = "memory ran out" if out_of_memory(error) else type(error).__name__
            error = RunError("detection-failed", f"The picture could not be processed: {memory}")
        for job in jobs:
            self._metrics.picture(None)
            self.give_back(1)
            job.result.set_result(error)


def _record(job: Job, page: Page) -> PageRecord:
    return (page.in_reading_order() if job.reading_order else page).record()
