"""Records: frozen dataclasses that say what a JSON document holds, and how they are written.

`ocdnet.runs.parsing` reads them.

A field is a line as in the config: annotation, default, docstring. The schema is generated from the
same lines. What types do not say stands in `Annotated[...]`: Bounds, Pattern, Size, With, Version.

A field without a default is always there, and a document that lacks it is none. One whose default
is None is left out while it is None, and null may not stand for it. Any other default is written
as well, and taken where a document of an earlier release lacks the field. A field that is always
there and may be null is `X | None` without a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from ocdnet.findings import Finding

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """Make a class a record: a frozen dataclass whose equality and text are `Record`'s.

    Light commands make dozens at their start, and each generated method costs a compilation.
    """
    return dataclass(frozen=True, kw_only=True, eq=False, repr=False)(cls)


@record
class Record:
    """What every record has."""

    extra: Mapping[str, Any] = field(default_factory=dict)
    """What the document holds beside the fields, of a newer release or another writer; also what
    did not fit its field. It is written again as it is."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        values = (f"{name}={value!r}" for name, value in vars(self).items() if name != "extra")
        return f"{type(self).__name__}({', '.join(values)})"


@dataclass(frozen=True, eq=False, repr=False)
class Bounds:
    """Least and greatest value of a number, both allowed."""

    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Pattern:
    """A regular expression that a text matches as we write it; other writers may differ."""

    regex: str


@dataclass(frozen=True, eq=False, repr=False)
class Size:
    """Least and greatest length of a text or a list, or number of keys of a mapping."""

    least: int | None = None
    most: int | None = None


@dataclass(frozen=True, eq=False, repr=False)
class With:
    """Fields that are there where this one is."""

    names: tuple[str, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Version:
    """The newest version of a document that this release knows; newer ones are read, too."""

    newest: int


SCHEMA_VERSION = 1
SchemaVersion = Annotated[int, Bounds(minimum=1), Version(SCHEMA_VERSION)]
Unit = Annotated[float, Bounds(0, 1)]
"""A number from 0 to 1."""
Amount = Annotated[float, Bounds(0)]
Count = Annotated[int, Bounds(0)]


@record
class Warned(Record):
    """Something that a run saw and its user should know."""

    code: str
    message: str
    files: tuple[str, ...] = ()
    """The first ten of the files in which it was seen."""
    count: Count = 1
    """How often it was seen."""
    key: str | None = None
    """Spec key that changes it."""


def warned(row: Finding) -> Warned:
    """A finding as results have it."""
    return Warned(
        code=row.code,
        message=row.message,
        files=tuple(row.files),
        count=row.count,
        key=row.key or None,
    )


@record
class Result(Record):
    """What a command prints when it is done."""

    schema_version: SchemaVersion = 1
    action: str
    warnings: tuple[Warned, ...] = ()
    """What it saw that the numbers do not tell; each is also a line of status.json."""


def to_json(record: Record) -> dict[str, Any]:
    """A record as JSON-ready data in the order of its fields, without what is unset."""
    document = {}
    for item in fields(record):
        value = getattr(record, item.name)
        if item.name != "extra" and not (value is None and item.default is None):
            document[item.name] = _plain(value)
    return document | {key: value for key, value in record.extra.items() if key not in document}


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return to_json(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def tagged(members: tuple[Any, ...]) -> tuple[str, dict[Any, Any]] | None:
    """The field that tells the records of a union apart, and whose it is by value; None: none."""
    if not all(is_dataclass(member) for member in members):
        return None
    hints = [get_type_hints(member) for member in members]
    for name in hints[0]:
        choices = [get_args(hint.get(name)) for hint in hints]
        pairs = {value: kind for kind, own in zip(members, choices, strict=True) for value in own}
        literal = all(get_origin(hint.get(name)) is Literal for hint in hints)
        if literal and len(pairs) == sum(map(len, choices)):
            return name, pairs
    return None
