"""status.json: a run's life as JSON lines, in TAO's format."""

from __future__ import annotations

import errno
import json
import logging
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ocdnet.errors import DataError
from ocdnet.files import os_fault
from ocdnet.findings import note
from ocdnet.runs.parsing import loads, parse
from ocdnet.runs.status_line import Kpi, State, StatusLine, Verbosity
from ocdnet.runs.typed import to_json

STARTING = "Starting OCDNet"
VALIDATED, TRAINED = "Eval metrics generated.", "Train metrics generated."
"""TAO's messages, by which a line is a start (the action follows), scores, or an epoch's loss."""
_HEAD = 16_384
_TAIL = 1 << 20


@dataclass(frozen=True)
class StatusLines:
    """What a status file tells, whoever wrote it.

    Attributes:
        lines: its valid lines in order.
        whole: whether that is all of them; of a file of more than a megabyte only the first and
            the last lines are read.
        changed: when it was last written, in seconds since the epoch.
    """

    lines: list[StatusLine]
    whole: bool
    changed: float


def read_status(path: Path) -> StatusLines:
    """The lines of a status file; what is no line of one is passed over.

    Raises:
        OSError: there is none, it is no regular file, or it can't be read.
    """
    if not path.is_file():  # before opening: a pipe would block
        code, text = (errno.EINVAL, "not a file") if path.exists() else (errno.ENOENT, "not there")
        raise OSError(code, text, str(path))
    with path.open("rb") as file:
        info = os.fstat(file.fileno())
        whole = info.st_size <= _HEAD + _TAIL
        chunks = [file.read(_HEAD + _TAIL if whole else _HEAD).split(b"\n")]
        if not whole:
            file.seek(-_TAIL, os.SEEK_END)
            chunks = [chunks[0][:-1], file.read(_TAIL).split(b"\n")[1:]]
    lines = [line for chunk in chunks for text in chunk if (line := _line(text)) is not None]
    return StatusLines(lines, whole, info.st_mtime)


def _line(text: bytes) -> StatusLine | None:
    try:
        line: StatusLine = parse(StatusLine, loads(text), "a status line")
    except (ValueError, DataError):
        return None
    return line


def last_state(path: Path) -> State | None:
    """State in the last whole line of a status file; None without one."""
    try:
        lines = read_status(path).lines
    except OSError:
        return None
    return lines[-1].status if lines else None


class StatusWriter:
    """Appends lines to a status file; a line is whole or absent.

    Args:
        path: the file; its folder exists.
        enabled: False on ranks other than 0, which write nothing.
    """

    def __init__(self, path: Path, enabled: bool = True) -> None:
        self.path, self.enabled = path, enabled

    def clear(self) -> None:
        """Begin an empty file, which keeps its lock."""
        try:
            with self.path.open("w", encoding="utf-8"):
                pass
        except OSError as error:
            raise os_fault(error, self.path) from error

    def write(
        self,
        status: State,
        message: str,
        kpi: Kpi | None = None,
        verbosity: Verbosity | None = None,
        **progress: Any,
    ) -> None:
        """Append one line.

        Args:
            status: what the run is doing.
            message: one sentence for people.
            kpi: numbers measured just now.
            verbosity: ERROR for a failure and INFO for the rest where it is not given.
            progress: further fields of a `StatusLine`: epoch, step, eta ...
        """
        if not self.enabled:
            return
        now = datetime.now().astimezone()
        line = StatusLine(
            date=now.strftime("%m/%d/%Y"),
            time=now.strftime("%H:%M:%S"),
            status=status,
            verbosity=verbosity or ("ERROR" if status == "FAILURE" else "INFO"),
            message=message,
            kpi=kpi,
            **progress,
        )
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(to_json(line), allow_nan=False) + "\n")
        except OSError as error:
            raise os_fault(error, self.path) from error


class WarningLines(logging.Handler):
    """Writes what a logger warns of into a status file, where it outlives the terminal."""

    def __init__(self, status: StatusWriter) -> None:
        super().__init__(logging.WARNING)
        self.status = status

    def emit(self, record: logging.LogRecord) -> None:
        """Append a line of verbosity WARNING, and note it as a finding."""
        message = record.getMessage()
        self.status.write("RUNNING", message, verbosity="WARNING")
        note("notice", message, said=True)
