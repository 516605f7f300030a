"""Reading a schema's tree of nodes: what a key takes, which keys there are, which one was meant.

A node is a JSON Schema object as a plain dict: the config's own, or one of a generated file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ocdnet.tree import keys

Node = dict[str, Any]

MISSING = "???"
"""Default of a string that the user must give (OmegaConf's mark)."""


def core(node: Node) -> Node:
    """The node without its optionality: of `T or null`, T."""
    choices = node.get("anyOf")
    return node if choices is None else next(c for c in choices if c.get("type") != "null")


def leaves(node: Node, prefix: str = "") -> Iterator[tuple[str, Node]]:
    """Every dotted key that holds a value, in declared order, with its node."""
    for name, child in node["properties"].items():
        if "properties" in child:
            yield from leaves(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def defaults(root: Node) -> dict[str, Any]:
    """The default of every key that holds a value, nested."""
    return keys.nested({key: node.get("default") for key, node in leaves(root)})


def find(root: Node, key: str) -> Node | None:
    """The node at a dotted key, numbers in it for places in lists.

    Returns:
        None if there is none; {} in an open object, which takes anything.
    """
    node: Node = root
    for part in key.split("."):
        node = core(node)
        if "properties" in node:
            if part not in node["properties"]:
                return None
            node = node["properties"][part]
        elif node.get("type") == "array" and part.isdecimal():
            node = node["items"]
        elif node.get("type") == "object" or node == {}:
            node = {}  # nothing is declared from here on
        else:
            return None
    return node


def suggestion(root: Node, key: str, first: Collection[str] = ()) -> str | None:
    """The known key closest to an unknown one: in its place, else of a like name elsewhere.

    Args:
        root: schema of the experiment.
        key: the unknown one, dotted.
        first: sections whose keys of a like name go before those of others.
    """
    known = known_keys(root)
    parent, name = _split(key)
    sibling = keys.nearest(name, [n for p, n in map(_split, known) if p == parent], 0.7)
    if sibling:
        return f"{parent}.{sibling}".removeprefix(".")
    like = keys.nearest(name, sorted(n for _, n in map(_split, known)), 0.75)
    named = [k for k in known if _split(k)[1] == like]
    own = [k for k in named if k.partition(".")[0] in first]
    # Of several keys with that name, the one whose sections are most like those written.
    return keys.nearest(key, own or named, 0)


def _split(key: str) -> tuple[str, str]:
    parent, _, name = key.rpartition(".")
    return parent, name


def known_keys(root: Node) -> tuple[str, ...]:
    """Every dotted key, those of sections included."""
    return tuple(dict.fromkeys(part for key, _ in leaves(root) for part in keys.prefixes(key)))


def declared(value: Any, choices: Iterable[Any]) -> Any:
    """The choice that a value is but for the case of its letters; else the value."""
    if not isinstance(value, str):
        return value
    return next((c for c in choices if str(c).lower() == value.lower()), value)


def in_declared_form(value: Any, node: Node) -> Any:
    """A text that the node takes in another case of its letters alone, as the node has it."""
    value, pattern = declared(value, node.get("enum", ())), node.get("pattern")
    if not isinstance(value, str):
        return value
    if pattern and not re.search(pattern, value) and re.search(pattern, value.lower()):
        return value.lower()
    return value


def with_words(value: Any, words: Mapping[str, Sequence[str]]) -> Any:
    """A copy of an open value whose texts at these names have the declared case, on any level."""
    if isinstance(value, Mapping):
        return {
            name: declared(item, words[name])
            if name in words and isinstance(item, str)
            else with_words(item, words)
            for name, item in value.items()
        }
    return [with_words(item, words) for item in value] if isinstance(value, list) else value


_NOUNS = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "object": "a mapping",
}


def describe(node: Node) -> str:
    """What a node takes, in words: `a number from 0 to 1`, `one of 'ddp', 'fsdp'`."""
    node = core(node)
    if "enum" in node:
        return ("one of " if len(node["enum"]) > 1 else "") + ", ".join(map(repr, node["enum"]))
    if node.get("type") == "array":
        return f"a list, each item {describe(node['items'])}"
    text = _NOUNS.get(node.get("type", ""), "a value")
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and low == high:
        text = f"{low}"
    elif low is not None and high is not None:
        text += f" from {low} to {high}"
    elif low is not None:
        text += f" from {low}"
    if "multipleOf" in node:
        text += f", a multiple of {node['multipleOf']}"
    if "pattern" in node:
        text += f" that matches {node['pattern']}"
    return text


def example(node: Node) -> str:
    """A placeholder to show in a hint for a key that needs a value."""
    return "[/path/to/it]" if core(node).get("type") == "array" else "/path/to/it"


def merged(base: dict[str, Any], tree: Mapping[str, Any], node: Node) -> dict[str, Any]:
    """The tree over the base, which is changed; lists and open objects are replaced whole."""
    for key, value in tree.items():
        child = node["properties"][key]
        mergeable = "properties" in child and isinstance(value, Mapping)
        base[key] = merged(base[key], value, child) if mergeable else value
    return base
