"""Rules that compare with a constant, declared once: checked here, and written into the schemas.

Rules that compare two values cannot stand in a JSON Schema; those are the sections' `problems`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ocdnet.files import ARCHIVES
from ocdnet.tree import keys
from ocdnet.tree.nodes import MISSING
from ocdnet.tree.problems import DataFieldError, Problem, SpecFieldError, missing

Node = dict[str, Any]

_ANY_CASE = [
    "".join(f"[{c}{c.upper()}]" if c.isalpha() else re.escape(c) for c in suffix)
    for suffix in ARCHIVES
]
ARCHIVE = f"({'|'.join(_ANY_CASE)})$"
"""Pattern of a path that is an archive; without flags, since JSON Schema has none."""

_TYPES = {bool: "boolean", int: "integer", str: "string"}


@dataclass(frozen=True)
class Given:
    """The condition that a string or a list at a key has a value."""

    key: str

    def holds(self, tree: Mapping[str, Any]) -> bool:
        """Whether it holds in a complete spec."""
        return bool(keys.get(tree, self.key))

    def schema(self, defaults: Mapping[str, Any]) -> Node:
        """Its JSON Schema, for a spec in which a key may be absent."""
        if isinstance(keys.get(defaults, self.key), list):
            return _at(self.key, {"type": "array", "minItems": 1}, present=True)
        unset = {"type": "string", "enum": ["", MISSING]}
        return _at(self.key, {"type": "string", "not": unset}, present=True)


@dataclass(frozen=True)
class Is:
    """The condition that a key holds a value."""

    key: str
    value: bool | int | str

    def holds(self, tree: Mapping[str, Any]) -> bool:
        """Whether it holds in a complete spec."""
        return bool(keys.get(tree, self.key) == self.value)

    def schema(self, defaults: Mapping[str, Any]) -> Node:
        """Its JSON Schema; an absent key holds its default."""
        leaf = {"type": _TYPES[type(self.value)], "enum": [self.value]}
        return _at(self.key, leaf, present=keys.get(defaults, self.key) != self.value)


@dataclass(frozen=True)
class _About:
    """What every rule has: the key that it is about."""

    kind: ClassVar[str]
    key: str

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that it is about."""
        return (self.key,)


@dataclass(frozen=True)
class Needed(_About):
    """A key that must have a value.

    Attributes:
        key: dotted key of a string or a list.
        why: what requires it, e.g. `"INT8"`.
        example: a value to show, as one would write it on the command line.
        when: only under this condition.
        unless: not under this condition.
    """

    kind: ClassVar = "needed"
    why: str
    example: str
    when: Is | None = None
    unless: Given | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that it is about, those of its conditions included."""
        conditions = (self.when, self.unless)
        return (self.key, *(condition.key for condition in conditions if condition))

    @property
    def says(self) -> str:
        """The rule in one sentence."""
        return f"{self.key} is required by {self.why}."

    def problems(self, tree: Mapping[str, Any]) -> Iterator[Problem]:
        """`missing-value` where it has none."""
        asked = self.when is None or self.when.holds(tree)
        excused = self.unless is not None and self.unless.holds(tree)
        if asked and not excused and not Given(self.key).holds(tree):
            yield missing(self.key, self.why, self.example)

    def schema(self, defaults: Mapping[str, Any]) -> Node:
        """The rule as keywords of a root schema."""
        given = Given(self.key).schema(defaults)
        if self.when is not None:
            return {"if": self.when.schema(defaults), "then": given}
        if self.unless is not None:
            return {"if": {"not": self.unless.schema(defaults)}, "then": given}
        return given


@dataclass(frozen=True)
class NoArchive(_About):
    """A path, or a list of them, that may not be an archive: data is read from folders."""

    kind: ClassVar = "no-archive"

    @property
    def says(self) -> str:
        """The rule in one sentence."""
        return f"{self.key} takes extracted data, never an archive."

    def problems(self, tree: Mapping[str, Any]) -> Iterator[Problem]:
        """`archive-as-path` for each path that is one."""
        value = keys.get(tree, self.key)
        for path in value if isinstance(value, list) else [value]:
            if re.search(ARCHIVE, path):
                command = "unzip" if path.lower().endswith(".zip") else "tar -xf"
                yield DataFieldError(
                    "archive-as-path",
                    self.key,
                    f"{self.key!r} is an archive",
                    got=path,
                    expected="an extracted folder",
                    hint=f"Extract it first ({command} {path}) and give the folder",
                )

    def schema(self, defaults: Mapping[str, Any]) -> Node:
        """The rule as keywords of a root schema."""
        path = {"type": "string", "not": {"type": "string", "pattern": ARCHIVE}}
        listed = isinstance(keys.get(defaults, self.key), list)
        leaf = {"type": "array", "items": path} if listed else path
        return _at(self.key, leaf, present=False)


@dataclass(frozen=True)
class Never(_About):
    """A key that may not hold a value that its type allows.

    Attributes:
        key: dotted key.
        value: what it may not be.
        code: slug of the error.
        why: what is wrong with it.
        expected: what it may be.
        unless: not under this condition.
    """

    kind: ClassVar = "never"
    value: bool | int
    code: str
    why: str
    expected: str
    unless: Is | None = None

    @property
    def says(self) -> str:
        """The rule in one sentence."""
        return f"{self.key} may not be {json.dumps(self.value)}; expected: {self.expected}."

    def problems(self, tree: Mapping[str, Any]) -> Iterator[Problem]:
        """An error of the rule's code where it holds the value."""
        excused = self.unless is not None and self.unless.holds(tree)
        if Is(self.key, self.value).holds(tree) and not excused:
            yield SpecFieldError(
                self.code,
                self.key,
                f"{self.key!r} {self.why}",
                got=self.value,
                expected=self.expected,
            )

    def schema(self, defaults: Mapping[str, Any]) -> Node:
        """The rule as keywords of a root schema."""
        kind = _TYPES[type(self.value)]
        leaf = {"type": kind, "not": {"type": kind, "enum": [self.value]}}
        refused = _at(self.key, leaf, present=False)
        if self.unless is not None:
            return {"if": {"not": self.unless.schema(defaults)}, "then": refused}
        return refused


Rule = Needed | NoArchive | Never


def _at(key: str, leaf: Node, *, present: bool) -> Node:
    """A schema that applies the leaf at a dotted key, which must be there or need not be."""
    name, _, rest = key.partition(".")
    child = {"type": "object", **_at(rest, leaf, present=present)} if rest else leaf
    return {"properties": {name: child}} | ({"required": [name]} if present else {})
