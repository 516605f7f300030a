"""The experiment's JSON Schema, derived from the dataclasses: its keys and what they take.

Everything that must know the shape of a spec (unknown keys, normalisation, error texts, the
generator) reads this one tree with `ocdnet.tree`; callers may change nothing in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from ocdnet.config.experiment import Experiment
from ocdnet.tree import nodes
from ocdnet.tree.nodes import MISSING, Node


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
    # `config.base.below` annotates a field of a section that several places share.
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


def blank(tree: Any) -> Any:
    """A copy of a tree of defaults with `???` as the empty string, as the runtime sees it."""
    if isinstance(tree, dict):
        return {key: blank(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [blank(item) for item in tree]
    return "" if tree == MISSING else tree


def leaves() -> Iterator[tuple[str, Node]]:
    """Every dotted key that holds a value, in declared order, with its node."""
    return nodes.leaves(experiment())


def find(key: str) -> Node | None:
    """The node at a dotted key; None if there is none."""
    return nodes.find(experiment(), key)


@cache
def known_keys() -> tuple[str, ...]:
    """Every dotted key, those of sections included."""
    return nodes.known_keys(experiment())


def extras() -> list[str]:
    """The dotted keys of ours that TAO does not know."""
    return [key for key, node in leaves() if "x_extra" in node]
