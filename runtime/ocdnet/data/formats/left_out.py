"""What a conversion could not take along: counted, noted, and listed in a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TextIO, TypeVar

from ocdnet.data.formats.labelled import Malformed
from ocdnet.errors import DataError, UserError, printable
from ocdnet.findings import note

_MESSAGES = {
    "bad-label-file": "Label files that can't be read were left out",
    "bad-region": "Text regions that can't be read were left out",
    "other-shape": "Shapes that enclose nothing, or of no kind that is read, were left out",
    "bad-picture-entry": "Pictures whose entry in a label file can't be read were left out",
    "missing-picture": "Pictures that labels name are not there: they were left out",
    "no-picture": "Files that labels name are no whole pictures: they were left out",
    "labelled-twice": "Pictures that are labelled twice keep their first labels",
    "no-labels": "Pictures without labels were left out",
    "other-file": "Files that are no labels of this format were left out",
    "odd-name": "Pictures whose name a list can't hold were left out",
}

_T = TypeVar("_T")


class LeftOut:
    """Told of everything that is left out.

    Attributes:
        counts: by code.
    """

    def __init__(self, listing: TextIO) -> None:
        self.counts: Counter[str] = Counter()
        self._listing = listing

    def add(self, code: str, where: object, why: str = "") -> None:
        """Note something of a kind, where it is, and what is wrong with it."""
        name = " ".join(printable(where).split())
        why = " ".join(printable(why).split())
        self.counts[code] += 1
        self._listing.write(f"{code}\t{name}\t{why}\n")
        note(code, _MESSAGES[code], file=f"{name}: {why[:160]}" if why else name)

    def attempt(self, code: str, where: object, read: Callable[[], _T]) -> _T | None:
        """What a function reads; None, and noted, where it can't."""
        try:
            return read()
        except (Malformed, DataError) as error:
            self.add(code, where, _why(error, where))
        return None


def _why(error: Malformed | UserError, where: object) -> str:
    text = error.message if isinstance(error, UserError) else str(error)
    return text.removeprefix(f"{where}: ")
