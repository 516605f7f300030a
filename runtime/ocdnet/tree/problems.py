"""Problems of a spec as errors that also carry the dotted key they are about."""

from __future__ import annotations

from typing import Any

from ocdnet.errors import DataError, SpecError


class SpecFieldError(SpecError):
    """A SpecError about one key.

    Args:
        code: slug, as in `UserError`.
        key: dotted key, or None where the whole file is meant.
        message: one sentence that names the key.
        did_you_mean: the known key or choice closest to what was written.
        got: the offending value.
        expected: what would have been accepted.
        hint: the change that fixes it.
    """

    def __init__(
        self,
        code: str,
        key: str | None,
        message: str,
        *,
        did_you_mean: str | None = None,
        got: Any = None,
        expected: Any = None,
        hint: str | None = None,
    ) -> None:
        if did_you_mean and hint is None:
            hint = f"Did you mean {did_you_mean!r}?"
        super().__init__(code, message, got, expected, hint)
        self.key, self.did_you_mean = key, did_you_mean


class DataFieldError(DataError):
    """A DataError about one key: the value is well-formed, what it points at is not usable."""

    did_you_mean: str | None = None

    def __init__(
        self, code: str, key: str, message: str, *, got: Any, expected: Any, hint: str
    ) -> None:
        super().__init__(code, message, got, expected, hint)
        self.key = key


Problem = SpecFieldError | DataFieldError


def missing(key: str, why: str, example: str) -> SpecFieldError:
    """The problem of a value that is required and not given.

    Args:
        key: dotted key.
        why: who requires it, e.g. `"evaluate"`.
        example: a value to show, as one would write it on the command line.
    """
    return SpecFieldError(
        "missing-value",
        key,
        f"{key!r} is required by {why}",
        expected="a value",
        hint=f"Set it in the spec, or on the command line: '{key}={example}'",
    )
