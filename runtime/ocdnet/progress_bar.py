"""How long work tells how far it is: a bar on a terminal's stderr, else lines now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

QUIET_SECONDS = 30.0
"""Longest silence where no terminal shows a bar."""

T = TypeVar("T")


def tracked(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    """The items, counted as they are done; `label` says what is being done to them."""
    with counter(label) as count:
        for done, item in enumerate(items, start=1):
            yield item
            count(done, total)


@contextmanager
def counter(label: str) -> Iterator[Callable[[int, int], None]]:
    """A function to be called with (done, total), for work that does its own counting."""
    if not sys.stderr.isatty():  # and rich, a tenth of a second, is not imported
        yield _Lines(label).tell
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import MofNCompleteColumn, Progress  # noqa: PLC0415

    console = Console(stderr=True)
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console) as bars:
        task = bars.add_task(label, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


class _Lines:
    """Tells every tenth, and more often where a tenth takes long."""

    def __init__(self, label: str) -> None:
        self.label, self._told, self._tenth = label, time.monotonic(), 0

    def tell(self, done: int, total: int) -> None:
        now, tenth = time.monotonic(), done * 10 // max(1, total)
        if tenth > self._tenth or now - self._told > QUIET_SECONDS:
            self._told, self._tenth = now, tenth
            sys.stderr.write(f"{self.label}: {done}/{total}\n")
            sys.stderr.flush()
