"""One line of the report, and asking a tool that may hang."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

_TIMEOUT = 5.0


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: slug.
        ok: False where something that this machine could have is missing for a common command or
            does not work; None where there is nothing to fix, or no need to.
        found: what is there, for people.
        needed_for: what it serves.
        mend: the exact shell command that fixes it; None where no single one does.
    """

    name: str
    ok: bool | None
    found: str
    needed_for: str
    mend: str | None = None


@dataclass(frozen=True)
class Answer:
    """What a tool said.

    Attributes:
        worked: it ended with 0 in time.
        out: its stdout.
        trouble: last line of its stderr or stdout, or that it did not answer; for people.
    """

    worked: bool
    out: str
    trouble: str


def ask(*command: str) -> Answer | None:
    """Run a tool for at most 5 s; None where it is not on the PATH."""
    program = shutil.which(command[0])
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - fixed commands
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(False, "", f"{command[0]} did not answer within {_TIMEOUT:.0f} s")
    except OSError as error:
        return Answer(False, "", f"{command[0]} does not run: {error.strerror}")
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return Answer(done.returncode == 0, done.stdout, said[-1][:200] if said else "")
