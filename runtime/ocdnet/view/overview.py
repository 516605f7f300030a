"""Which pictures there are of each kind: filled in the background while the page is in use."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ocdnet.view.sets import PictureSet
from ocdnet.view.shapes import BITS, MARKS

_KEPT = 4


class _StoppedError(Exception):
    """Nobody waits for the rest."""


class Overview:
    """The marks of all pictures, and lists of them.

    Args:
        pictures: to be looked at.

    Attributes:
        done: whether all were looked at.
    """

    def __init__(self, pictures: PictureSet) -> None:
        self._pictures = pictures
        self._bits = np.zeros(len(pictures), np.uint32)
        self._mistakes = np.zeros(len(pictures), np.uint32)
        self._seen = 0
        self._stopped = self.done = False
        self._lists: OrderedDict[tuple[object, ...], NDArray[np.int64]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def seen(self) -> int:
        """How many were looked at so far."""
        return min(self._seen, len(self._bits))

    def run(self) -> None:
        """Look at all pictures; ends early after `stop`."""
        try:
            self._pictures.survey(self._mark)
        except _StoppedError:
            return
        self.done = True

    def stop(self) -> None:
        """Let `run` end."""
        self._stopped = True

    def _mark(self, number: int, bits: int, mistakes: int) -> None:
        if self._stopped:
            raise _StoppedError
        self._bits[number], self._mistakes[number] = bits, mistakes
        self._seen += 1

    def counts(self) -> dict[str, int]:
        """How many pictures have each mark, of those that were looked at."""
        return {mark: int(np.count_nonzero(self._bits & bit)) for mark, bit in BITS.items()}

    def marks(self, number: int) -> list[str]:
        """The marks of a picture."""
        return [mark for mark in MARKS if self._bits[number] & BITS[mark]]

    def mistakes(self, number: int) -> int:
        """How many mistakes a picture has."""
        return int(self._mistakes[number])

    def matching(self, mark: str, text: str, *, worst_first: bool) -> NDArray[np.int64]:
        """Numbers of the pictures with a mark and a text in their names; empty: any.

        In their order, or those with the most mistakes first.
        """
        stage = self._seen if mark or worst_first else 0
        key = (mark, text, worst_first, stage, self.done)
        with self._lock:
            if key not in self._lists:
                self._lists[key] = self._found(mark, text, worst_first)
                if len(self._lists) > _KEPT:
                    self._lists.popitem(last=False)
            return self._lists[key]

    def _found(self, mark: str, text: str, worst_first: bool) -> NDArray[np.int64]:
        numbers = np.flatnonzero(self._bits & BITS[mark]) if mark else np.arange(len(self._bits))
        if text:
            wanted = text.casefold()
            names: Sequence[bool] = [
                wanted in self._pictures.name(number).casefold() for number in numbers.tolist()
            ]
            numbers = numbers[np.array(names, np.bool_)]
        if worst_first:
            numbers = numbers[np.argsort(-self._mistakes[numbers].astype(np.int64), kind="stable")]
        return numbers
