"""The one normaliser: turns what YAML gives into what the schema asks for, before validation.

It drops unset values (null, `???`), reads 5.0 as 5 where an integer is due and YAML 1.1 booleans
where a boolean is, gives choices their declared case, and refuses what JSON cannot hold: NaN,
infinities, dates, binary.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from ocdnet.tree.nodes import (
    MISSING,
    Node,
    core,
    describe,
    in_declared_form,
    suggestion,
    with_words,
)
from ocdnet.tree.problems import SpecFieldError
from ocdnet.tree.yaml_io import BOOLEANS_OF_YAML_1_1

_LARGEST = 2**63 - 1
_UNSET = (None, MISSING)


class _RefusedError(Exception):
    """The value is refused, and its problem recorded."""


class Normaliser:
    """Normalises one tree and collects every problem on the way.

    Args:
        root: schema of the whole experiment, for suggesting what an unknown key meant.
        first: sections that are suggested before others.

    Attributes:
        problems: what was refused; the refused values are left out of the result.
    """

    def __init__(self, root: Node, first: Collection[str] = ()) -> None:
        self._root, self._first = root, first
        self.problems: list[SpecFieldError] = []

    def known(self, tree: Mapping[Any, Any], node: Node, prefix: str = "") -> dict[str, Any]:
        """A copy of the tree without unknown keys, each of which becomes a problem."""
        copy = {}
        for name, value in tree.items():
            key = f"{prefix}{name}"
            child = node["properties"].get(name) if isinstance(name, str) else None
            if child is None:
                self.problems.append(unknown_key(self._root, key, self._first))
            else:
                nested = "properties" in child and isinstance(value, Mapping)
                copy[name] = self.known(value, child, f"{key}.") if nested else value
        return copy

    def mapping(self, tree: Mapping[str, Any], node: Node, prefix: str = "") -> dict[str, Any]:
        """A copy in the types that the node asks for, without unset and refused values."""
        copy = {}
        for name, value in tree.items():
            if value in _UNSET:
                continue
            child = core(node["properties"].get(name, {}))
            try:
                copy[name] = self._value(value, child, f"{prefix}{name}")
            except _RefusedError:
                continue
        return copy

    def _value(self, value: Any, node: Node, key: str) -> Any:
        kind = node.get("type")
        if "x_words" in node:
            value = with_words(value, node["x_words"])
        if "properties" in node and isinstance(value, Mapping):
            return self.mapping(value, node, f"{key}.")
        if kind == "array" and isinstance(value, list):
            # `['???']` is a list that is still to be given.
            given, item = [v for v in value if v != MISSING], core(node["items"])
            return [self._value(v, item, f"{key}.{i}") for i, v in enumerate(given)]
        if kind == "boolean" and isinstance(value, str):
            return BOOLEANS_OF_YAML_1_1.get(value.lower(), value)
        value = in_declared_form(value, node)
        if kind == "integer" and isinstance(value, float) and value.is_integer():
            value = int(value)
        return self._plain(value, node, key)

    def _plain(self, value: Any, node: Node, key: str) -> Any:
        """The value, if JSON can hold it."""
        if isinstance(value, Mapping):
            if not all(isinstance(name, str) and _encodable(name) for name in value):
                self._refuse("wrong-type", key, "has a key that is not a string", repr(value), node)
            return {name: self._plain(item, {}, f"{key}.{name}") for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._plain(item, {}, f"{key}.{i}") for i, item in enumerate(value)]
        if isinstance(value, float) and not math.isfinite(value):
            self._refuse("not-finite", key, "is not finite", str(value), node)
        if isinstance(value, int) and abs(value) > _LARGEST:
            self._refuse("out-of-range", key, "is too large", "more than 64 bits", node)
        if isinstance(value, str) and not _encodable(value):
            self._refuse("wrong-type", key, "is not valid Unicode", ascii(value), node)
        if value is not None and not isinstance(value, bool | int | float | str):
            self._refuse("wrong-type", key, "has the wrong type", repr(value), node)
        return value

    def _refuse(self, code: str, key: str, problem: str, got: Any, node: Node) -> None:
        refusal = SpecFieldError(code, key, f"{key!r} {problem}", got=got, expected=describe(node))
        self.problems.append(refusal)
        raise _RefusedError


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def unknown_key(root: Node, key: str, first: Collection[str] = ()) -> SpecFieldError:
    """The problem of a key that the schema does not declare; `first` as in `suggestion`."""
    return SpecFieldError(
        "unknown-key",
        key,
        f"{key!r} is not a key of the experiment",
        did_you_mean=suggestion(root, key, first),
    )
