"""Reading a schema's tree of nodes: what a key takes, which keys there are, which one was meant.

A node is a JSON Schema object as a plain dict: the config's own, or one of a generated file.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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


def find(root: Node, parts: Sequence[str]) -> Node | None:
    """The node at a path of names and indices: None if there is none, {} in an open object."""
    node: Node = root
    for part in parts:
        node = core(node)
        if "properties" in node:
            if part not in node["properties"]:
                return None
            node = node["properties"][part]
        elif node.get("type") == "array" and part.isdecimal():
            node = node["items"]
        elif node.get("type") == "object" or node == {}:
            node = {}
        else:
            return None
    return node


def suggestion(root: Node, key: str) -> str | None:
    """The known key closest to an unknown one: in its place, else of a like name elsewhere."""
    parent, _, name = key.rpartition(".")
    keys = known_keys(root)
    siblings = {k.rpartition(".")[2]: k for k in keys if k.rpartition(".")[0] == parent}
    near = difflib.get_close_matches(name, siblings, n=1, cutoff=0.7)
    if near:
        return siblings[near[0]]
    names = {k.rpartition(".")[2] for k in keys}
    like = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.75)
    places = [k for k in keys if k.rpartition(".")[2] in like]
    near = difflib.get_close_matches(key, places, n=1, cutoff=0.0)
    return near[0] if near else None


def known_keys(root: Node) -> tuple[str, ...]:
    """Every dotted key, those of sections included."""
    keys: dict[str, None] = {}
    for key, _ in leaves(root):
        parts = key.split(".")
        keys.update((".".join(parts[: i + 1]), None) for i in range(len(parts)))
    return tuple(keys)


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


def value_at(tree: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key of a tree that holds it."""
    value: Any = tree
    for part in key.split("."):
        value = value[part]
    return value
