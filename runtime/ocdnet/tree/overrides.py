"""Command-line overrides: `a.b.c=value`, with YAML values, and `~a.b.c`, which takes one away."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ocdnet.tree import keys
from ocdnet.tree.nodes import Node, core, find
from ocdnet.tree.normalise import unknown_key
from ocdnet.tree.problems import SpecFieldError
from ocdnet.tree.yaml_io import inline_yaml, parse

_FORM = re.compile(r"(?:(~)|\+{0,2})([\w.-]+)(?:=(.*))?", re.DOTALL)


def apply(
    tree: Mapping[str, Any], overrides: Sequence[str], root: Node, first: Collection[str] = ()
) -> dict[str, Any]:
    """A copy of the tree with the overrides applied in order; the last of a key wins.

    A leading `+` or `++` is accepted; `~key` takes away what the tree gives for a key, so that its
    default holds, and `~key=value` only if it is that value: Hydra's forms. For a key that takes a
    string the value is the text itself (quotes removed); for others it is YAML. A number in a key
    is a list index. Of the keys that an unknown one may mean, those of the sections `first` go
    before others.

    Raises:
        SpecFieldError: `bad-override`, `bad-yaml` or `unknown-key`.
    """
    result: dict[str, Any] = _unshared(tree)
    for override in overrides:
        match = _FORM.fullmatch(override)
        taken_away, key, text = match.groups() if match else (None, "", None)
        if not key or (text is None and not taken_away):
            raise _bad(override, "is not an override", "key=value, e.g. train.num_epochs=10")
        node = find(root, key)
        if node is None:
            raise unknown_key(root, key, first)
        value = None if text is None else _value(text, node, override)
        if taken_away:
            _take_away(result, key, value, override)
        else:
            _assign(result, key, value, override, root)
    return result


def _unshared(value: Any) -> Any:
    """A deep copy in which YAML aliases are separate, so that setting one leaves the other."""
    if isinstance(value, Mapping):
        return {key: _unshared(item) for key, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value


def _value(text: str, node: Node, override: str) -> Any:
    """The value of an override's text for the key's node."""
    takes_text = core(node).get("type") == "string"
    if not text.strip():
        return "" if takes_text else None
    try:
        value = parse(text, override)
    except SpecFieldError:
        if not takes_text:
            raise
        return text
    return text if takes_text and value is not None and not isinstance(value, str) else value


def _assign(tree: dict[str, Any], key: str, value: Any, override: str, root: Node) -> None:
    """Set the value at a key, making what is missing on the way (lists: their default)."""
    for place in keys.prefixes(key):
        parent, _, name = place.rpartition(".")
        container = keys.get(tree, parent) if parent else tree
        if isinstance(container, list) and not keys.has(container, name):
            below = f"an index below {len(container)}"
            raise _bad(override, f"has no item {name!r} to set", below)
        if not isinstance(container, dict | list):
            raise _bad(override, f"cannot be set: {parent!r} is not a mapping", "a mapping")
        if place == key:
            keys.set(tree, key, value)
        elif keys.get(tree, place) is None:
            keys.set(tree, place, _start(root, place))


def _take_away(tree: dict[str, Any], key: str, value: Any, override: str) -> None:
    """Drop a key, if it holds the value or none is named."""
    there = keys.get(tree, key)
    if value is not None and there != value:
        raise _bad(override, "names another value than there is", f"~{key}={inline_yaml(there)}")
    if there is not None and not keys.drop(tree, key):
        raise _bad(override, "is of an item of a list", "the key of the whole list")


def _start(root: Node, key: str) -> Any:
    """What a container that is not given starts from: a list from its default, else empty."""
    node = find(root, key)
    if node is None or core(node).get("type") != "array":
        return {}
    return copy.deepcopy(node.get("default", []))


def _bad(override: str, problem: str, expected: str) -> SpecFieldError:
    return SpecFieldError(
        "bad-override", None, f"{override!r} {problem}", got=override, expected=expected
    )
