"""The experiment's JSON Schema, derived from the dataclasses: its keys and what they take.

Everything that must know the shape of a spec (unknown keys, normalisation, error texts, the
generator) reads this one tree. A node is a plain dict; nothing in it may be changed by callers.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from ocdnet.config.base import MISSING
from ocdnet.config.experiment import Experiment

Node = dict[str, Any]


@cache
def adapter() -> TypeAdapter[Experiment]:
    """Pydantic's validator and serialiser of `Experiment`."""
    return TypeAdapter(Experiment)


@cache
def defaults() -> dict[str, Any]:
    """The default of every key, nested, with `???` where the user must give a value."""
    tree: dict[str, Any] = adapter().dump_python(Experiment(), mode="json")
    return tree


@cache
def experiment() -> Node:
    """Schema of the whole experiment file: no references, a default on every leaf."""
    raw = adapter().json_schema()
    definitions = raw.pop("$defs")
    return _with_defaults(_inlined(raw, definitions), defaults())


def _inlined(node: Any, definitions: Mapping[str, Node]) -> Any:
    """A copy of the node with references replaced and single choices written as an enum."""
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    copy = {key: _inlined(value, definitions) for key, value in node.items()}
    if "const" in copy:
        copy["enum"] = [copy.pop("const")]
    for name, keywords in copy.pop("below", {}).items():
        copy["properties"] = {**copy["properties"], name: copy["properties"][name] | keywords}
    if copy.get("additionalProperties") is True:
        del copy["additionalProperties"]
    return copy


def _with_defaults(node: Node, values: Mapping[str, Any]) -> Node:
    """The node with the defaults that an `Experiment` has: one class may differ by place."""
    properties = {}
    for name, child in node["properties"].items():
        if "properties" in child:
            properties[name] = _with_defaults(child, values[name]) | {"title": name}
        else:
            properties[name] = child | {"default": values[name], "title": name}
    return node | {"properties": properties}


def core(node: Node) -> Node:
    """The node without its optionality: of `T or null`, T."""
    choices = node.get("anyOf")
    return node if choices is None else next(c for c in choices if c.get("type") != "null")


def leaves(node: Node | None = None, prefix: str = "") -> Iterator[tuple[str, Node]]:
    """Every dotted key that holds a value, in declared order, with its node."""
    for name, child in (node or experiment())["properties"].items():
        if "properties" in child:
            yield from leaves(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def find(parts: Sequence[str]) -> Node | None:
    """The node at a path of names and indices: None if there is none, {} in an open object."""
    node: Node = experiment()
    for part in parts:
        node = core(node)
        if "properties" in node:
            node = node["properties"].get(part)
        elif node.get("type") == "array" and part.isdecimal():
            node = node["items"]
        elif node.get("type") == "object" or node == {}:
            node = {}
        else:
            return None
        if node is None:
            return None
    return node


def suggestion(key: str) -> str | None:
    """The known key closest to an unknown one: in its place, else of a like name elsewhere."""
    parent, _, name = key.rpartition(".")
    keys = known_keys()
    siblings = {k.rpartition(".")[2]: k for k in keys if k.rpartition(".")[0] == parent}
    near = difflib.get_close_matches(name, siblings, n=1, cutoff=0.7)
    if near:
        return siblings[near[0]]
    names = {k.rpartition(".")[2] for k in keys}
    like = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.75)
    places = [k for k in keys if k.rpartition(".")[2] in like]
    near = difflib.get_close_matches(key, places, n=1, cutoff=0.0)
    return near[0] if near else None


@cache
def known_keys() -> tuple[str, ...]:
    """Every dotted key, those of sections included."""
    keys: dict[str, None] = {}
    for key, _ in leaves():
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


def blank(tree: Any) -> Any:
    """A copy of a tree of defaults with `???` as the empty string, as the runtime sees it."""
    if isinstance(tree, dict):
        return {key: blank(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [blank(item) for item in tree]
    return "" if tree == MISSING else tree
