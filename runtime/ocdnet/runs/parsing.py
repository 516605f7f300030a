"""From JSON that anybody may have written to records, by the records' own fields and types."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from ocdnet.errors import DataError
from ocdnet.runs.typed import SCHEMA_VERSION, Bounds, tagged

_LARGEST_INTEGER = 2**63
_DEEPEST = 32
_MOST_NOTES = 20
_LONGEST = 60
_MOST_BYTES = 32_000_000
_AGAIN = "Give a file that this skill wrote; to have a damaged one anew, run its action again."


class Misfit(Exception):
    """A value that is not what its field takes."""

    def __init__(self, expected: str, got: Any = None, *, missing: bool = False) -> None:
        super().__init__(expected)
        self.expected, self.got, self.missing = expected, _short(got), missing
        self.path: list[str] = []

    def note(self, name: str) -> str:
        """What was passed over in a document."""
        return f"{name}: {'.'.join(self.path)} is {self.got!r}, not {self.expected}: passed over."

    def error(self, name: str) -> DataError:
        """Of a document that can't be read for it."""
        place = ".".join(self.path)
        of = f"{place!r} of {name}" if place else name
        return DataError(
            "not-a-record",
            f"{name} lacks {place!r}" if self.missing else f"{of} is not as this skill writes it",
            got=self.got,
            expected=self.expected,
            hint=_AGAIN,
        )


Reader = Callable[[Any, list[Misfit]], Any]
"""From a JSON value to a field's; what did not fit and could be passed over goes to the list."""


def loads(text: bytes | str) -> Any:
    """JSON that anybody may have written; NaN and infinities are null.

    Raises:
        ValueError: it is none, or nested too deeply.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="replace")
    try:
        return json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def read(kind: Any, path: Path, notes: list[str] | None = None) -> Any:
    """Read a file as a record; otherwise as `parse`.

    Raises:
        DataError: `unreadable-record` where it is not there, is no file, is larger than 32 MB or no
            JSON; `not-a-record` as `parse`.
    """
    try:
        if not path.is_file():  # before opening: a pipe would block
            raise OSError("no file" if path.exists() else "not there")
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise ValueError(f"larger than {_MOST_BYTES // 10**6} MB")
        value = loads(text)
    except (OSError, ValueError) as error:
        got = "no JSON" if isinstance(error, json.JSONDecodeError) else str(error)
        raise DataError(
            "unreadable-record",
            f"{path} cannot be read",
            got=getattr(error, "strerror", None) or got,
            expected="a JSON document that this skill wrote",
            hint=_AGAIN,
        ) from error
    return parse(kind, value, str(path), notes)


def parse(kind: Any, value: Any, name: str, notes: list[str] | None = None) -> Any:
    """Read a JSON value as a record.

    What a field does not take is passed over where the field has a default, as is an item of a
    list or mapping. Names of fields are read in lower case, too, as TAO writes some.

    Args:
        kind: a record's class, or a union of such that differ in a field of literal choices.
        value: what `loads` gives.
        name: of the document, for messages: its path.
        notes: takes a sentence for what was passed over, the first twenty.

    Raises:
        DataError: `not-a-record`; it names the first field that is missing or does not fit.
    """
    misfits: list[Misfit] = []
    try:
        record = _reader(kind)(value, misfits)
    except Misfit as misfit:
        raise misfit.error(name) from None
    if notes is not None:
        notes += [misfit.note(name) for misfit in misfits]
        version = getattr(record, "schema_version", SCHEMA_VERSION)
        if version > SCHEMA_VERSION:
            notes.append(
                f"{name} is of a newer release (schema_version {version}): "
                "what this one knows of it was read."
            )
    return record


@cache
def _reader(kind: Any) -> Reader:
    """The reader of a type, made once."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    if is_dataclass(kind):
        return _record_reader(kind)
    return _READERS[get_origin(kind)](get_args(kind))


def _anything(value: Any, _: list[Misfit]) -> Any:
    if _deep(value, _DEEPEST):
        raise Misfit(f"at most {_DEEPEST} levels deep", value)
    return value


def _boolean(value: Any, _: list[Misfit]) -> bool:
    if not isinstance(value, bool):
        raise Misfit("true or false", value)
    return value


def _text(value: Any, _: list[Misfit]) -> str:
    if not isinstance(value, str):
        raise Misfit("a text", value)
    return value


def _integer(value: Any, _: list[Misfit]) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= _LARGEST_INTEGER:
        raise Misfit("an integer", value)
    return value


def _number(value: Any, _: list[Misfit]) -> float:
    """A finite number, or the text of one: TAO writes some so."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Misfit("a number", value)
    try:
        number = float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise Misfit("a number", value)
    return number


_PLAIN: dict[Any, Reader] = {
    Any: _anything,
    bool: _boolean,
    str: _text,
    int: _integer,
    float: _number,
}


def _bounded(arguments: tuple[Any, ...]) -> Reader:
    """A number within its bounds; the other markers say nothing of what is read."""
    read, markers = _reader(arguments[0]), arguments[1:]
    bounds = [marker for marker in markers if isinstance(marker, Bounds)]
    if not bounds:
        return read
    low = next((b.minimum for b in bounds if b.minimum is not None), -math.inf)
    high = next((b.maximum for b in bounds if b.maximum is not None), math.inf)
    spans = f"{low:g} or more" if high == math.inf else f"from {low:g} to {high:g}"

    def checked(value: Any, misfits: list[Misfit]) -> Any:
        number = read(value, misfits)
        if not low <= number <= high:
            raise Misfit(f"a number {spans}", value)
        return number

    return checked


def _choice(choices: tuple[Any, ...]) -> Reader:
    allowed = {(type(choice), choice) for choice in choices}
    listed = "one of " * (len(choices) > 1) + ", ".join(map(str, choices))

    def read(value: Any, _: list[Misfit]) -> Any:
        if not isinstance(value, str | int) or (type(value), value) not in allowed:
            raise Misfit(listed, value)
        return value

    return read


def _union(arguments: tuple[Any, ...]) -> Reader:
    """None, a record by the value of its tag, or the first type that takes the value."""
    members = tuple(argument for argument in arguments if argument is not types.NoneType)
    nullable = len(members) < len(arguments)
    tag = tagged(members) if len(members) > 1 else None
    if tag is not None:
        inner = _by_tag(*tag)
    elif len(members) == 1:
        inner = _reader(members[0])
    else:
        inner = _first([_reader(member) for member in members])
    if not nullable:
        return inner
    return lambda value, misfits: None if value is None else inner(value, misfits)


def _by_tag(name: str, kinds: dict[Any, Any]) -> Reader:
    readers = {value: _reader(kind) for value, kind in kinds.items()}
    choice = _choice(tuple(readers))

    def read(value: Any, misfits: list[Misfit]) -> Any:
        if not isinstance(value, dict):
            raise Misfit("an object", value)
        if name not in value:
            raise _missing(name)
        return readers[_within(name, choice, value[name], misfits)](value, misfits)

    return read


def _first(readers: list[Reader]) -> Reader:
    def read(value: Any, misfits: list[Misfit]) -> Any:
        expected = []
        for one in readers:
            try:
                return one(value, misfits)
            except Misfit as misfit:
                expected.append(misfit.expected)
        raise Misfit(" or ".join(expected), value)

    return read


def _tuple_reader(arguments: tuple[Any, ...]) -> Reader:
    read = _reader(arguments[0])

    def read_list(value: Any, misfits: list[Misfit]) -> Any:
        if not isinstance(value, list):
            raise Misfit("a list", value)
        kept = []
        for at, item in enumerate(value):
            try:
                kept.append(_within(str(at), read, item, misfits))
            except Misfit as misfit:
                _pass_over(misfit, misfits)
        return tuple(kept)

    return read_list


def _mapping_reader(arguments: tuple[Any, ...]) -> Reader:
    read_key, read = map(_reader, arguments)

    def read_mapping(value: Any, misfits: list[Misfit]) -> Any:
        if not isinstance(value, dict):
            raise Misfit("an object", value)
        kept = {}
        for key, item in value.items():
            try:
                kept[read_key(key, misfits)] = _within(repr(_short(key)), read, item, misfits)
            except Misfit as misfit:
                _pass_over(misfit, misfits)
        return kept

    return read_mapping


_READERS: dict[Any, Callable[[tuple[Any, ...]], Reader]] = {
    Annotated: _bounded,
    Literal: _choice,
    Union: _union,
    types.UnionType: _union,
    tuple: _tuple_reader,
    Mapping: _mapping_reader,
}
"""By the origin of a type, given its arguments."""


def _record_reader(kind: Any) -> Reader:
    hints = get_type_hints(kind, include_extras=True)
    own = [item for item in fields(kind) if item.name != "extra"]
    readers = {item.name: _reader(hints[item.name]) for item in own}
    needed = [i.name for i in own if i.default is MISSING and i.default_factory is MISSING]

    def read_record(value: Any, misfits: list[Misfit]) -> Any:
        if not isinstance(value, dict):
            raise Misfit("an object", value)
        given: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for key, item in value.items():
            name = key if key in readers else key.lower()
            if name not in readers or name in given:
                extra[key] = item
                continue
            try:
                given[name] = _within(name, readers[name], item, misfits)
            except Misfit as misfit:
                if name in needed:
                    raise
                _pass_over(misfit, misfits)
                extra[key] = item
        for name in needed:
            if name not in given:
                raise _missing(name)
        kept = {key: item for key, item in extra.items() if not _deep(item, _DEEPEST)}
        return kind(**given, extra=kept)

    return read_record


def _within(name: str, read: Reader, value: Any, misfits: list[Misfit]) -> Any:
    """Read a part of a document; its misfits say where they were."""
    before = len(misfits)
    try:
        part = read(value, misfits)
    except Misfit as misfit:
        misfit.path.insert(0, name)
        raise
    for earlier in misfits[before:]:
        earlier.path.insert(0, name)
    return part


def _pass_over(misfit: Misfit, misfits: list[Misfit]) -> None:
    if len(misfits) < _MOST_NOTES:
        misfits.append(misfit)


def _missing(name: str) -> Misfit:
    misfit = Misfit(f"a document with {name!r}", missing=True)
    misfit.path.append(name)
    return misfit


def _deep(value: Any, levels: int) -> bool:
    """Whether a JSON value is nested more deeply than so many levels."""
    if not isinstance(value, dict | list):
        return False
    items = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deep(item, levels - 1) for item in items)


def _short(value: Any) -> Any:
    """A value of an untrusted document, or what it is where it is long."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and abs(value) >= _LARGEST_INTEGER:
        return "a huge integer"
    return f"{value[:_LONGEST]}..." if isinstance(value, str) and len(value) > _LONGEST else value
