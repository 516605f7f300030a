"""The one error type that users see, and the exit codes it maps to."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """Process exit codes of the `ocdnet` command, and what each means."""

    meaning: str

    def __new__(cls, code: int, meaning: str = "") -> Exit:
        """A code that is an integer and carries its meaning."""
        member = int.__new__(cls, code)
        member._value_, member.meaning = code, meaning
        return member

    DONE = 0, "done"
    BUG = 1, "a bug of ours"
    USAGE = 2, "wrong usage"
    SPEC = 3, "invalid spec or override"
    DATA = 4, "invalid data or model"
    ENVIRONMENT = 5, "missing dependency or hardware"
    RUN = 6, "failed while running"
    INTERRUPTED = 130, "interrupted, resumable"


_NO_MEMORY = re.compile(
    r"(out of|allocate|enough|insufficient) memory|(unable|failed) to allocate|ALLOC_FAILED",
    re.IGNORECASE,
)
"""How numpy, torch, cuDNN, OpenCV, ONNX Runtime and the system report that memory ran out."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of any library says that memory ran out."""
    return isinstance(error, MemoryError) or bool(_NO_MEMORY.search(str(error)))


def printable(name: object) -> str:
    """A file's name or path as UTF-8 can hold it: bytes that it cannot hold are escaped."""
    return str(name).encode("utf-8", "backslashreplace").decode()


class UserError(Exception):
    """A problem that the user can fix: what was found, what was expected, what to do.

    Raise one of the subclasses; each carries its exit code.

    Args:
        code: stable slug for programs, e.g. `"unknown-key"`.
        message: one sentence for people, naming the key or the file (and line).
        got: the offending value.
        expected: what would have been accepted; of a list of texts, each is shown on its line.
        hint: the command or change that fixes it.
    """

    exit_code = Exit.BUG

    def __init__(
        self,
        code: str,
        message: str,
        got: Any = None,
        expected: Any = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.got, self.expected, self.hint = (
            code,
            message,
            got,
            expected,
            hint,
        )

    def __reduce__(self) -> tuple[type[UserError], tuple[Any, ...]]:
        # Errors cross process borders (data workers); the default would keep the message alone.
        return type(self), (self.code, self.message, self.got, self.expected, self.hint)

    def to_dict(self) -> dict[str, Any]:
        """The error as JSON-ready data: code, message, got, expected, hint."""
        return {
            "code": self.code,
            "message": self.message,
            "got": self.got,
            "expected": self.expected,
            "hint": self.hint,
        }

    def __str__(self) -> str:
        parts = [self.message]
        if self.got is not None:
            parts.append(f"got {self.got!r}")
        if self.expected is not None:
            lines = isinstance(self.expected, list) and all(
                isinstance(x, str) for x in self.expected
            )
            shown = "\n  ".join(["", *self.expected]) if lines else f" {self.expected}"
            parts.append(f"expected{shown}")
        text = "; ".join(parts)
        if not self.hint:
            return text
        # Behind a list, one item a line, the hint has a line of its own.
        return f"{text}\n{self.hint}" if "\n" in text else f"{text.rstrip('.?')}. {self.hint}"


class UsageError(UserError):
    """The command line itself is wrong (exit 2)."""

    exit_code = Exit.USAGE


class SpecError(UserError):
    """The spec or an override is invalid (exit 3)."""

    exit_code = Exit.SPEC


class DataError(UserError):
    """Data, a checkpoint or an engine is invalid (exit 4)."""

    exit_code = Exit.DATA


class EnvironmentFault(UserError):
    """A dependency or a piece of hardware is missing (exit 5)."""

    exit_code = Exit.ENVIRONMENT


class Interrupted(UserError):
    """The user stopped it (exit 130)."""

    exit_code = Exit.INTERRUPTED


class RunError(UserError):
    """The run failed while running: out of memory, non-finite loss, disk full (exit 6)."""

    exit_code = Exit.RUN
