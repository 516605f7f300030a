"""Many bad files or lines of a set as one error: the first ten, the number, a format said once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from ocdnet.data.other_formats import format_of
from ocdnet.errors import DataError

_T = TypeVar("_T")
_R = TypeVar("_R")
SHOWN = 10
"""Bad files or lines that are listed."""


def collect(
    read: Callable[[_T], _R], items: Iterable[_T], kept: list[DataError] | None = None
) -> list[_R]:
    """Read all items; where some fail, raise their errors as one (see `as_one`), or keep them."""
    results: list[_R] = []
    errors: list[DataError] = [] if kept is None else kept
    for item in items:
        try:
            results.append(read(item))
        except DataError as error:
            errors.append(error)
    if errors and kept is None:
        raise as_one(errors, len(errors) + len(results))
    return results


def as_one(errors: Sequence[DataError], total: int) -> DataError:
    """One error for several: of the same wrong form in all of them as a format, else as a list.

    Args:
        errors: at least one.
        total: of files or lines that were read.
    """
    first = errors[0]
    form = format_of(str(first.got)) if first.code == "bad-label-line" else None
    if len(errors) == 1:
        hint = f"{form}. {first.hint}" if form and first.hint else first.hint
        return DataError(first.code, first.message, first.got, first.expected, hint)
    number = f"{len(errors)} of {total} files or lines"
    got = [error.message for error in errors[:SHOWN]]
    if len(errors) > SHOWN:
        got.append(f"and {len(errors) - SHOWN} more")
    hint = first.hint
    if first.code == "bad-label-line":
        same = len({_shape(error) for error in errors}) == 1
        if same:
            got = [str(first.got), *got]
            hint = (
                f"{form or 'It is not a form of line that is read'}. It is the same in each file:"
                " convert them all, or correct what wrote them."
            )
        else:
            hint = "Correct the lines that `got` lists."
    elif hint and len({error.code for error in errors}) == 1:
        hint = f"{hint} (the others likewise)"
    message = f"{first.message} ({number} can't be read)"
    return DataError(first.code, message, got, first.expected, hint)


def _shape(error: DataError) -> str:
    """A line with its words and numbers blurred: the same for lines of one format."""
    words = re.sub(r"[^\W\d_]+", "a", str(error.got)[:60])
    fields = re.sub(r"[-+]?\d+(\.\d+)?", "0", words)
    return re.sub(r"([^\w\s])\1+|\s+", lambda found: found[0][0], fields)[:16]
