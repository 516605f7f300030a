"""Spec templates: what the user must give first, what is often changed next, then all the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ruamel.yaml.comments import CommentedMap

from ocdnet.catalogue import ACTIONS
from ocdnet.config import schema, spec
from ocdnet.tree import nodes, yaml_io
from ocdnet.tree.nodes import MISSING

_FIRST, _POPULAR, _REST = range(3)


def template(action: str) -> dict[str, Any]:
    """The spec of an action with every default, in the template's order; a valid TAO spec."""
    entry = ACTIONS[action]
    defaults = spec.action_defaults(entry)
    tree = {name: defaults[name] for name in entry.reads}
    plain = spec.without_extras(tree, schema.experiment())
    return _ordered(plain, schema.experiment(), set(entry.required), "")


def text(action: str) -> str:
    """The template's YAML, with the docstrings of what it puts first as comments."""
    entry = ACTIONS[action]
    tree = yaml_io.styled(template(action))
    _comment(tree, schema.experiment(), set(entry.required), "")
    return (
        f"# ocdnet {entry.section}: {entry.summary} Replace every ??? that is needed.\n"
        f"{yaml_io.dump(tree)}"
    )


def _rank(key: str, node: nodes.Node, required: set[str]) -> int:
    """How early a key or a section stands among its siblings."""
    if "properties" in node:
        children = node["properties"].items()
        return min(_rank(f"{key}.{name}", child, required) for name, child in children)
    if key == "results_dir" or key in required or node["default"] == MISSING:
        return _FIRST
    return _POPULAR if node.get("popular") else _REST


def _ordered(
    tree: Mapping[str, Any], node: nodes.Node, required: set[str], prefix: str
) -> dict[str, Any]:
    properties = node["properties"]
    names = sorted(tree, key=lambda name: _rank(f"{prefix}{name}", properties[name], required))
    return {
        name: _ordered(tree[name], properties[name], required, f"{prefix}{name}.")
        if "properties" in properties[name]
        else tree[name]
        for name in names
    }


def _comment(tree: CommentedMap, node: nodes.Node, required: set[str], prefix: str) -> None:
    for name in tree:
        key, child = f"{prefix}{name}", node["properties"][name]
        if "properties" in child:
            _comment(tree[name], child, required, f"{key}.")
        elif _rank(key, child, required) < _REST:
            mark = "Required. " if key in required else ""
            note = mark + child["description"]
            tree.yaml_set_comment_before_after_key(name, before=note, indent=2 * key.count("."))
