"""Dotted keys of nested mappings (`train.optimizer.args.lr`), and the name that a typo meant.

A number in a key is a place in a list: `pre_processes.0.type`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_ABSENT = object()
_LONGEST = 100
"""Characters of a mistyped word that are compared, which takes quadratic time."""


def get(tree: Any, key: str, default: Any = None) -> Any:
    """The value at a key; the default where a part of the way is not there."""
    value = tree
    for part in key.split("."):
        value = _step(value, part)
        if value is _ABSENT:
            return default
    return value


def has(tree: Any, key: str) -> bool:
    """Whether something stands at a key, None included."""
    return get(tree, key, _ABSENT) is not _ABSENT


def set(tree: dict[str, Any], key: str, value: Any) -> None:
    """Put a value at a key, making the mappings on the way that are missing.

    Raises:
        TypeError, ValueError, IndexError: the way leads through a value that is no mapping, by a
            name into a list, or past its end.
    """
    *parents, name = key.split(".")
    container: Any = tree
    for part in parents:
        if isinstance(container, dict):
            container = container.setdefault(part, {})
        else:
            container = container[int(part)]
    container[int(name) if isinstance(container, list) else name] = value


def drop(tree: Any, key: str) -> bool:
    """Take away what stands at a key of nested mappings; whether anything did."""
    parent, _, name = key.rpartition(".")
    container = get(tree, parent) if parent else tree
    return isinstance(container, dict) and container.pop(name, _ABSENT) is not _ABSENT


def prefixes(key: str) -> list[str]:
    """The keys on the way to a key, itself last: `a`, `a.b`, `a.b.c`."""
    parts = key.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of nested mappings whose value is no mapping, or an empty one, and that value."""
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """The tree of values by dotted key."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        set(tree, key, value)
    return tree


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word closest to a mistyped one: case, and `-` for `_`, do not count.

    Args:
        word: as it was written, of any length.
        known: what would have been right.
        cutoff: least likeness, from 0 (anything) to 1 (the same).
    """
    plain = {_plain(name): name for name in known}
    near = difflib.get_close_matches(_plain(word[:_LONGEST]), plain, 1, cutoff)
    return plain[near[0]] if near else None


def _plain(word: str) -> str:
    return word.lower().replace("-", "_")


def _step(value: Any, part: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(part, _ABSENT)
    if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
        return value[int(part)]
    return _ABSENT
