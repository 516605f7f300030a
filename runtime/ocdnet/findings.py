"""What a run saw that its user should know: collected where it is seen, said where the run ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ocdnet.errors import printable

LOG = logging.getLogger("ocdnet")
SHOWN = 10
"""Files of a finding that are named."""


@dataclass
class Finding:
    """One kind of thing that was seen, maybe often.

    Attributes:
        code: stable slug for programs.
        message: one sentence for people, the same for each time it is seen.
        key: spec key that changes it; empty: none does.
        files: the first of the files in which it was seen.
        count: how often it was seen.
        said: whether it stands in the log already.
    """

    code: str
    message: str
    key: str = ""
    files: list[str] = field(default_factory=list)
    count: int = 0
    said: bool = False

    def renamed(self, names: Mapping[str, str]) -> Finding:
        """The same with other names for some files."""
        return replace(self, files=[names.get(file, file) for file in self.files])

    @property
    def text(self) -> str:
        """The finding on one line: message, number, files."""
        number = f" ({self.count})" if self.count > 1 else ""
        more = ", ..." if len(self.files) < self.count and len(self.files) == SHOWN else ""
        where = f": {', '.join(self.files)}{more}" if self.files else ""
        return f"{self.message}{number}{where}"


class Findings:
    """Collects from any thread; the same code, message and key are one finding."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str], Finding] = {}
        self._once: set[tuple[str, str | None]] = set()
        self._lock = threading.Lock()

    def add(
        self,
        code: str,
        message: str,
        key: str,
        file: Path | str | None,
        count: int,
        said: bool,
        once: bool,
    ) -> None:
        """Count something that was seen; arguments as of `note`."""
        name = None if file is None else printable(file)
        with self._lock:
            if once and (code, name) in self._once:
                return
            if once:
                self._once.add((code, name))
            new = Finding(code, message, key, said=said)
            row = self._rows.setdefault((code, message, key), new)
            row.count += count
            if name is not None and name not in row.files and len(row.files) < SHOWN:
                row.files.append(name)

    def rows(self) -> list[Finding]:
        """What was seen so far, in the order of first sight."""
        with self._lock:
            return list(self._rows.values())


def say(findings: Findings) -> None:
    """Log what was seen and not yet said, a line each."""
    for row in findings.rows():
        if not row.said:
            row.said = True
            LOG.warning(row.text)


def relay(findings: Iterable[Finding], renamed: Callable[[str], str] = str) -> None:
    """Note again what another process saw, or with other names of files."""
    for row in findings:
        first = renamed(row.files[0]) if row.files else None
        rest = row.count - len(row.files[1:])
        note(row.code, row.message, key=row.key, file=first, count=rest)
        for file in row.files[1:]:
            note(row.code, row.message, key=row.key, file=renamed(file))


_open: list[Findings] = []


@contextmanager
def collecting() -> Iterator[Findings]:
    """Collect what is noted within, in this process; the innermost collection has it."""
    findings = Findings()
    _open.append(findings)
    try:
        yield findings
    finally:
        _open.remove(findings)


def collected() -> Findings | None:
    """The collection that is open; None: there is none."""
    return _open[-1] if _open else None


def note(
    code: str,
    message: str,
    *,
    key: str = "",
    file: Path | str | None = None,
    count: int = 1,
    said: bool = False,
    once: bool = False,
) -> None:
    """Note something that a result must not hide; where nothing collects, it is logged at once.

    Args:
        code: slug.
        message: what it is, without numbers and names: the same for each time it is seen.
        key: spec key that changes it.
        file: where it was seen.
        count: how often.
        said: whether it was logged by the caller.
        once: the same file is counted once, however often it is read.
    """
    if _open:
        _open[-1].add(code, message, key, file, count, said, once)
    elif not said:
        LOG.warning(Finding(code, message, key, [printable(file)] if file else [], count).text)
