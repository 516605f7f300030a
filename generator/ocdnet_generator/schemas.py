"""One JSON Schema an action, in the dialect that validators and the AutoML client both read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ocdnet.catalogue import ACTIONS
from ocdnet.catalogue_entry import Action
from ocdnet.config import schema, spec
from ocdnet.config.rules import Rule
from ocdnet.tree import nodes
from ocdnet_generator.templates import template

DIALECT = "https://json-schema.org/draft/2020-12/schema"
NETWORK = "ocdnet"
"""The network's name to NVIDIA's tools."""
AUTOML_ENABLED = any(entry.automl == "default" for entry in ACTIONS.values())
"""Whether an action is searched where nothing else is said."""
CORE_MODULE = "ocdnet.config.experiment"
"""Where the dataclasses are that a schema is generated from."""
_AUTOML_ONLY = ("automl_enabled", "search", "option_weights")
_KEPT = ("automl_enabled", "math_cond", "depends_on")
"""What else the client reads of a key that it searches."""
_SCALARS = ("boolean", "integer", "number", "string")


def build(action: str) -> dict[str, Any]:
    """The schema of the root keys and the sections that an action reads.

    A key of its properties that `default` does not hold is ours: TAO does not know it.
    """
    entry = ACTIONS[action]
    sections, defaults = schema.experiment()["properties"], spec.action_defaults(entry)
    properties = {name: _node(sections[name], defaults[name], entry) for name in entry.reads}
    keys = list(nodes.leaves({"properties": properties}))
    return {
        "$schema": DIALECT,
        "title": f"ocdnet {action}",
        "description": entry.summary,
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "allOf": [_rule(rule, defaults) for rule in spec.rules_of(entry)],
        "default": template(action),
        "popular": sorted(key for key, leaf in keys if leaf.get("popular")),
        "automl_default_parameters": sorted(_automl(keys, enabled=True)),
        "automl_disabled_parameters": sorted(_automl(keys, enabled=False)),
        "x_tao_schema": {"network": NETWORK, "action": action, "core_module": CORE_MODULE},
    }


def published(action: str) -> dict[str, Any]:
    """The schema as it is written: with the ranges that NVIDIA's AutoML client searches.

    The client knows one pair of bounds a key, and samples between them. It joins the names on the
    way to a property by dots, and the last of one name counts: a property of the whole dotted key
    at the root holds the search's bounds, the nested one goes on to hold what is valid. No spec
    has a key with a dot in its name, and `propertyNames` says so to validators. See ADR 9.
    """
    schema = build(action)
    ranges = {
        key: _search_range(key, leaf)
        for key, leaf in nodes.leaves(schema)
        if "search" in leaf and leaf.get("automl_enabled") is not False
    }
    if not ranges:
        return schema
    properties = schema["properties"] | ranges
    return schema | {"properties": properties, "propertyNames": {"pattern": "^[^.]*$"}}


def text(action: str) -> str:
    """The schema's JSON."""
    return dumped(published(action))


def dumped(document: Any) -> str:
    """A generated document as strict JSON."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def manifest() -> dict[str, Any]:
    """What schemas/manifest.json holds: where each action's schema and template are."""
    return {
        "schema_version": 1,
        "model": NETWORK,
        "network_arch": NETWORK,
        "automl_enabled": AUTOML_ENABLED,
        "actions": {action: _entry(action) for action in sorted(ACTIONS)},
    }


def _entry(action: str) -> dict[str, Any]:
    built = build(action)
    lists = ("automl_default_parameters", "automl_disabled_parameters", "popular")
    return {
        "path": f"schemas/{action}.schema.json",
        "spec_template": f"references/spec_template_{action}.yaml",
        "schema_action": ACTIONS[action].section,
        "core_module": CORE_MODULE,
        **{name: built[name] for name in lists},
    }


def _node(node: nodes.Node, default: Any, action: Action) -> nodes.Node:
    """A node as the action sees it: its default, AutoML's annotations only where it searches."""
    if "properties" in node:
        properties = {
            name: _node(child, default[name], action) for name, child in node["properties"].items()
        }
        return node | {"properties": properties}
    leaf = {key: value for key, value in node.items() if key != "x_extra"} | {"default": default}
    if action.automl == "never":
        return {key: value for key, value in leaf.items() if key not in _AUTOML_ONLY}
    # The client never searches what has no range worth searching, nor a list, not even by name.
    searchable = "search" in leaf and leaf["type"] in _SCALARS
    return leaf if searchable else leaf | {"automl_enabled": False}


def _search_range(key: str, leaf: nodes.Node) -> nodes.Node:
    """A searched key's range as the client reads it: bounds, or choices that are no numbers.

    Of choices that are numbers it is the range between them: of a grid the client would not let
    its user choose a part.
    """
    search = leaf["search"]
    choices = search.get("choices")
    node = {
        "title": key,
        "description": "Where AutoML clients search this key. No spec has a key of this name.",
        "type": leaf["type"],
    }
    if choices and "enum" in leaf:
        node["enum"] = choices
    elif choices:
        node |= {"minimum": min(choices), "maximum": max(choices)}
    else:
        node |= {"minimum": search["min"], "maximum": search["max"]}
    return node | {word: leaf[word] for word in _KEPT if word in leaf}


def _rule(rule: Rule, defaults: dict[str, Any]) -> nodes.Node:
    """A rule as a member of the root's allOf; `x_rule` says which it is to those who read it."""
    about = {"kind": rule.kind, "key": rule.key}
    head = {"title": rule.key, "description": rule.says, "x_rule": about}
    return head | rule.schema(defaults)


def _automl(leaves: list[tuple[str, nodes.Node]], *, enabled: bool) -> Iterator[str]:
    return (key for key, leaf in leaves if leaf.get("automl_enabled") is enabled)
