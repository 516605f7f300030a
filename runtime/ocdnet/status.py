"""status.json: a run's life as JSON lines, in TAO's format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from ocdnet.files import os_fault

State = Literal["STARTED", "RUNNING", "SUCCESS", "FAILURE"]


def last_state(path: Path) -> str | None:
    """State in the last whole line of a status file; None without one."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    for line in reversed(lines):
        try:
            return str(json.loads(line)["status"])
        except (ValueError, KeyError, TypeError):
            continue
    return None


class StatusWriter:
    """Appends lines to a status file; a line is whole or absent.

    Args:
        path: the file; its folder exists.
        enabled: False on ranks other than 0, which write nothing.
    """

    def __init__(self, path: Path, enabled: bool = True) -> None:
        self.path, self.enabled = path, enabled

    def write(
        self,
        status: State,
        message: str,
        kpi: Mapping[str, float] | None = None,
        **progress: Any,
    ) -> None:
        """Append one line.

        Args:
            status: what the run is doing.
            message: one sentence for people.
            kpi: numbers measured just now, e.g. `{"hmean": 0.5}`.
            progress: further JSON values: epoch, step, eta ...
        """
        if not self.enabled:
            return
        now = datetime.now().astimezone()
        line: dict[str, Any] = {
            **progress,
            "date": now.strftime("%m/%d/%Y"),
            "time": now.strftime("%H:%M:%S"),
            "status": status,
            "verbosity": "ERROR" if status == "FAILURE" else "INFO",
            "message": message,
        }
        if kpi is not None:
            line["kpi"] = dict(kpi)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, allow_nan=False) + "\n")
        except OSError as error:
            raise os_fault(error, self.path) from error
