"""What a scheduler and `docker stop` send, SIGTERM: heard at once, obeyed when all is saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl


class StopRequest:
    """Whether this process was told to end.

    Before and after the training loop SIGTERM ends the run at once, as Ctrl-C does. Within it the
    request waits until the run can stop with everything saved; a second one does not wait.
    """

    def __init__(self) -> None:
        self.waiting = self._patient = self._over = False

    def handle(self, *_: Any) -> None:
        """The signal's handler."""
        if self._over:
            return  # once is enough: let the last lines out
        if self._patient and not self.waiting:
            self.waiting = True
            return
        self._over = True
        raise KeyboardInterrupt

    def be_patient(self) -> None:
        """The loop begins. Lightning's own handler, which is set by now, must go.

        It broadcasts to the other processes from within the handler, whatever they are doing.
        """
        self._patient = True
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.handle)

    def agreed(self, trainer: pl.Trainer) -> bool:
        """Whether any process was told to end; all of them ask at the same step."""
        return bool(trainer.strategy.reduce_boolean_decision(self.waiting, all=False))

    def obey(self) -> None:
        """Everything is saved, or the loop is over: what comes now must not be disturbed."""
        self._over, self._patient = self.waiting, False


@contextmanager
def stoppable() -> Iterator[StopRequest]:
    """Listen to SIGTERM; only a main thread can."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = signal.signal(signal.SIGTERM, request.handle)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)
