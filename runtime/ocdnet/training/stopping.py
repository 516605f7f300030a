"""SIGTERM, as schedulers and `docker stop` send it: a run ends once everything is saved."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl

_SAME_SECONDS = 1.0
"""Within them a second SIGTERM is the first once more.

Schedulers and `timeout` tell it to a process and to its parent, which hands it on.
"""


class StopRequest:
    """Whether SIGTERM has asked this process to end.

    Before and after the training loop SIGTERM ends the run at once, as Ctrl-C does. Within it the
    first one is deferred until everything is saved; a second one, if it comes later than a second
    after the first, ends the run at once.
    """

    def __init__(self) -> None:
        self._pending = self._deferring = self._ending = False
        self._told = 0.0

    def handle(self, *_: Any) -> None:
        """Handle the signal; raises KeyboardInterrupt unless it is deferred or already handled."""
        if self._ending:
            return  # the run ends already: let it write its last lines
        if self._deferring and not self._pending:
            self._pending, self._told = True, time.monotonic()
            return
        if self._pending and time.monotonic() - self._told < _SAME_SECONDS:
            return
        self._ending = True
        raise KeyboardInterrupt

    def defer(self) -> None:
        """Defer requests from now on; to be called when Lightning has set its signal handlers.

        Replaces Lightning's handler of SIGTERM: it broadcasts to the other processes at once,
        although they may be in the middle of another collective call.
        """
        self._deferring = True
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.handle)

    def agreed(self, trainer: pl.Trainer) -> bool:
        """Whether any process has a request; all of them must call this at the same step."""
        return bool(trainer.strategy.reduce_boolean_decision(self._pending, all=False))

    def end_deferral(self) -> None:
        """Everything is saved: a deferred request may end the run, and later ones are ignored."""
        self._ending, self._deferring = self._pending, False


@contextmanager
def stoppable() -> Iterator[StopRequest]:
    """Handle SIGTERM while the context lasts; outside the main thread Python cannot."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = signal.signal(signal.SIGTERM, request.handle)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)
