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
CORE_MODULE = "ocdnet.config.experiment"
"""Where the dataclasses are that a schema is generated from."""
_AUTOML_ONLY = ("automl_enabled", "search", "option_weights")
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
        "x_tao_schema": {"network": "ocdnet", "action": action, "core_module": CORE_MODULE},
    }


def text(action: str) -> str:
    """The schema's JSON."""
    return dumped(build(action))


def dumped(document: Any) -> str:
    """A generated document as strict JSON."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def manifest() -> dict[str, Any]:
    """What schemas/manifest.json holds: where each action's schema and template are."""
    return {"actions": {action: _entry(action) for action in sorted(ACTIONS)}}


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


def _rule(rule: Rule, defaults: dict[str, Any]) -> nodes.Node:
    """A rule as a member of the root's allOf; `x_rule` says which it is to those who read it."""
    about = {"kind": rule.kind, "key": rule.key}
    head = {"title": rule.key, "description": rule.says, "x_rule": about}
    return head | rule.schema(defaults)


def _automl(leaves: list[tuple[str, nodes.Node]], *, enabled: bool) -> Iterator[str]:
    return (key for key, leaf in leaves if leaf.get("automl_enabled") is enabled)
