"""Checks of what a user gives in a request: choices, one-line texts, the same thing said twice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ocdnet.catalogue import PLANNED
from ocdnet.errors import UsageError, UserError
from ocdnet.tree.keys import nearest


def _same_as() -> dict[str, tuple[str, ...]]:
    same: dict[str, dict[str, None]] = {
        "results_dir": {"results_dir": None},
        "checkpoint": {},
        "precision": {},
    }
    for entry in PLANNED.values():
        for item in entry.inputs:
            if item.sources:
                same.setdefault(item.source.request, {})[item.key] = None
            elif item.key == entry.model and entry.takes[0].endswith("checkpoint"):
                same["checkpoint"][item.key] = None
        if entry.precision:
            same["precision"][entry.precision] = None
    return {name: tuple(keys) for name, keys in same.items()}


SAME_AS = _same_as()
"""Fields of a request, and the spec keys that say the same."""

_SHOWN = 100


def choice(
    name: str,
    value: str,
    known: Sequence[str],
    *,
    code: str = "bad-choice",
    also: str = "",
    hint: str | None = None,
) -> None:
    """Refuse a value that is not one of those known.

    Args:
        name: what it is the value of.
        value: what was given.
        known: the choices.
        code: the error's.
        also: what else would do, in words.
        hint: what to do; None: the closest choice.

    Raises:
        UsageError: `code`.
    """
    if value in known:
        return
    near = nearest(value, known)
    raise UsageError(
        code,
        f"Unknown {name}",
        got=short(value),
        expected=f"one of {', '.join(known)}" + (f" or {also}" if also else ""),
        hint=hint or (f"Did you mean {near!r}?" if near else None),
    )


def one_line(name: str, value: str) -> None:
    """Refuse what no path or name can hold: emptiness, NUL, line breaks, half a character.

    Raises:
        UsageError: `bad-text`.
    """
    fault = None
    if not value.strip():
        fault = "is empty"
    elif "\0" in value:
        fault = "holds a NUL character"
    elif len(f"{value}.".splitlines()) > 1:
        fault = "holds a line break"
    elif any("\ud800" <= letter <= "\udfff" for letter in value):
        fault = "is not valid Unicode"
    if fault:
        raise UsageError("bad-text", f"{name} {fault}", got=short(value), expected="one line")


def said_once(overrides: Sequence[str], fields: Mapping[str, str | tuple[str, ...] | None]) -> None:
    """Refuse an override that says other than the request's field of the same meaning.

    Args:
        overrides: `a.b.c=value` texts.
        fields: value of each name in `SAME_AS`; empty or None: not given.

    Raises:
        UsageError: `contradiction`.
    """
    names = {key: name for name, keys in SAME_AS.items() for key in keys}
    for override in overrides:
        key, _, text = override.partition("=")
        name = names.get(key.lstrip("+"))
        given = fields[name] if name else None
        if name is None or not given:
            continue
        values = (given,) if isinstance(given, str) else given
        said = _values(text)
        if name == "precision":  # of any case
            said = tuple(value.lower() for value in said)
        if said != values:
            raise UsageError(
                "contradiction",
                f"{name} and the override of {key.lstrip('+')} say different things",
                got=short(f"{', '.join(values)} and {text}"),
                expected="one of them",
            )


def _values(text: str) -> tuple[str, ...]:
    """The paths in an override's value, which is a string or a list."""
    from ocdnet.tree.yaml_io import parse  # noqa: PLC0415 - for overrides of paths alone

    try:
        value = parse(text, "the override")
    except UserError:
        value = text
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)


def short(value: object) -> str:
    """A value as text that is short enough to print."""
    text = value if isinstance(value, str) else json.dumps(value, default=repr)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
