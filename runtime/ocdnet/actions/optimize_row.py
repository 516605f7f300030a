"""A candidate as far as it is known, and as it is printed."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ocdnet.actions.optimize_bench import Times
from ocdnet.engines import Kind
from ocdnet.errors import RunError, UserError
from ocdnet.runs.printed import Problem
from ocdnet.runs.printed_optimize import Backend, Candidate, Precision, Speed

_OPENING = 10.0
"""Seconds that a process takes to start and open a model, about."""


@dataclass
class Row:
    """A candidate.

    Attributes:
        name: for people.
        kind: the runtime that its engine is built for; None: the model as given.
        precision: of the engine.
        backend: what runs it.
        file: the engine, or the model.
        tried: images a second by number of threads.
        agreement: hmean of its regions against those of the model given.
        hmean: against the labels.
        memory: megabytes that its process held.
        times: of each round.
        failed: why it has no figures.
    """

    name: str
    kind: Kind | None = None
    precision: Precision | None = None
    backend: Backend = "torch"
    file: Path | None = None
    tried: dict[int, float] = field(default_factory=dict)
    agreement: float | None = None
    hmean: float | None = None
    memory: float | None = None
    times: list[Times] = field(default_factory=list)
    failed: UserError | None = None

    @property
    def threads(self) -> int:
        """The number of threads that gave the most images a second."""
        return max(self.tried, key=lambda number: self.tried[number])

    @property
    def works(self) -> bool:
        """Whether it can be timed."""
        return bool(self.tried) and self.failed is None

    def seconds(self, images: int) -> float:
        """What it takes to time it, about: each image alone and in a stream."""
        return _OPENING + 2 * images / self.tried[self.threads] if self.works else 0.0

    @contextmanager
    def failing(self) -> Iterator[None]:
        """What it fails of within stands in it; figures that it has already stay."""
        try:
            yield
        except UserError as error:
            if not self.times or error.code != "out-of-time":
                self.failed = error

    def record(self) -> Candidate:
        """As it is printed."""
        failed = self.failed
        if failed is None and not self.times:
            failed = RunError("out-of-time", "No time was left for it", hint="Give more --minutes.")
        return Candidate(
            name=self.name,
            backend=self.backend,
            precision=self.precision,
            file=str(self.file) if self.file else None,
            threads=self.threads if self.tried else None,
            tried={str(n): round(rate, 3) for n, rate in self.tried.items()} or None,
            speed=None if failed else self._speed(),
            agreement=self.agreement,
            hmean=self.hmean,
            failed=Problem(**failed.to_dict()) if failed else None,
        )

    def _speed(self) -> Speed:
        each = [1000 * seconds for times in self.times for seconds in times.each]
        streamed = sum(times.stream for times in self.times)
        return Speed(
            median_ms=round(statistics.median(each), 2),
            p95_ms=round(float(np.percentile(each, 95)), 2),
            images_per_second=round(len(each) / streamed, 3),
            memory_mb=None if self.memory is None else round(self.memory, 1),
        )
