"""A process of its own for each candidate: what crashes or hangs in it ends that one alone."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ocdnet.actions.optimize_bench import serve
from ocdnet.errors import RunError
from ocdnet.findings import note

_ENDING = 5.0
"""Seconds in which a process that was told to end does so."""


class Clock:
    """How much of the time that a command was given is left.

    Args:
        minutes: that it was given.

    Attributes:
        reserved: seconds that are kept for later steps.
    """

    def __init__(self, minutes: float) -> None:
        self._given, self._start = 60 * minutes, time.monotonic()
        self.reserved = 0.0

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    @property
    def over(self) -> bool:
        """Whether nothing is left."""
        return self._left <= 0

    def limit(self) -> float:
        """Seconds that one step may take: a third of all, within what is left."""
        return max(0.0, min(self._given / 3, self._left))

    @property
    def _left(self) -> float:
        return self._given - self.spent - self.reserved


class Process:
    """A new process that works for a candidate; the end of a `with` ends it.

    Args:
        clock: limits each of its steps.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        context = multiprocessing.get_context("spawn")  # libraries' threads outlive no fork
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other,), daemon=True)
        self._process.start()
        other.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._pipe.close()
        self._process.join(0 if kind else _ENDING)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def call(self, work: Callable[..., Any], *arguments: Any, tells: bool = False) -> Any:
        """What a method of `Bench` returns there.

        Args:
            work: the method.
            arguments: its own, without self.
            tells: pass on what it noted.

        Raises:
            UserError: as the method, or the process crashed, or its time ran out.
        """
        limit = self._clock.limit()
        try:
            self._pipe.send((work.__name__, arguments))
            if not self._pipe.poll(limit):
                self._process.kill()
                raise RunError(
                    "out-of-time",
                    "It took longer than its part of the time",
                    got=f"{limit:.0f} s",
                    hint="Give more --minutes.",
                )
            done, value, findings = self._pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise self._crashed() from error
        for code, message in findings if tells else ():
            note(code, message, once=True)  # by several candidates, of files that are ours
        if not done:
            raise value
        return value

    def _crashed(self) -> RunError:
        self._process.join(_ENDING)
        code = self._process.exitcode or 0
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        out_of_memory = "The system may have ended it for its memory." if code == -9 else None
        return RunError("crashed", "Its process crashed", got=how, hint=out_of_memory)


def available_megabytes() -> float | None:
    """Memory that new processes may take; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        row = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(row.split()[1]) * 1024 / 1e6
    except (OSError, ValueError, IndexError, StopIteration):
        return None
