"""Ours against a baseline in one process: A B A B, medians, on one thread and on all."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Any

import cv2
import torch

Work = Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: what is measured.
        ours: median seconds, or the number that `unit` says.
        baseline: median seconds of the baseline in the same process; None where the limit is none
            of a ratio.
        threads: of the computation.
        least: ratio baseline / ours that must be reached; or the most that `ours` may be, where
            there is no baseline.
        against: what the baseline is.
        note: fraction of a physical limit, or what else must be known.
        unit: of `ours` where it is no time.
    """

    what: str
    ours: float
    baseline: float | None
    threads: int
    least: float | None
    against: str = ""
    note: str = ""
    unit: str = "s"

    @property
    def ratio(self) -> float | None:
        """How many times faster than the baseline."""
        return None if self.baseline is None else self.baseline / self.ours

    @property
    def met(self) -> bool | None:
        """Whether the limit is kept; None where there is none."""
        if self.least is None:
            return None
        ratio = self.ratio
        return self.ours <= self.least if ratio is None else ratio >= self.least

    def to_json(self) -> dict[str, Any]:
        """The row with its ratio and verdict."""
        return {**asdict(self), "ratio": self.ratio, "met": self.met}


def thread_counts() -> list[int]:
    """One thread, and as many as there are CPUs, two at most."""
    return sorted({1, min(2, len(os.sched_getaffinity(0)))})


@contextlib.contextmanager
def threads(number: int) -> Iterator[None]:
    """Torch and OpenCV on so many threads."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(number)
    cv2.setNumThreads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


@contextlib.contextmanager
def apart(number: int, make: Callable[..., Work], *arguments: Any) -> Iterator[Work]:
    """What `make` makes of the arguments, in a process of its own: each call runs it there once.

    What one piece of work does to its process, as to its heap, is then nothing to the others.

    Args:
        number: of the process's threads.
        make: a function that another process can import.
        arguments: what it is called with.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(_make, number, make, arguments).result()
        yield lambda: pool.submit(_run).result()


_made: list[Work] = []


def _make(number: int, make: Callable[..., Work], arguments: Sequence[Any]) -> None:
    os.environ["OMP_NUM_THREADS"] = str(number)  # what is ours asks it
    torch.set_num_threads(number)
    cv2.setNumThreads(number)
    _made.append(make(*arguments))


def _run() -> None:
    _made[0]()


def medians(*works: Work, rounds: int, warm_up: int = 1, rest: float = 0.0) -> list[float]:
    """Median seconds of each piece of work, run in turns: what disturbs one disturbs all.

    Args:
        works: what to run.
        rounds: turns of each.
        warm_up: turns that do not count.
        rest: seconds before each that counts, for threads of the one before that go on spinning.
    """
    for _ in range(warm_up):
        for work in works:
            work()
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, taken in zip(works, times, strict=True):
            time.sleep(rest)
            start = time.perf_counter()
            work()
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]
