"""One JSON Schema an action, in the dialect that validators and the AutoML client both read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ocdnet.config import schema, spec
from ocdnet.config.actions import ACTIONS, ROOT_KEYS, Action
from ocdnet_generator.templates import template

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_AUTOML_ONLY = ("automl_enabled", "search", "option_weights", "depends_on")


def build(action: str) -> dict[str, Any]:
    """The schema of the root keys and the sections that an action reads."""
    entry = ACTIONS[action]
    names = [*ROOT_KEYS, *entry.sections]
    sections, defaults = schema.experiment()["properties"], spec.action_defaults(entry)
    properties = {name: _node(sections[name], defaults[name], entry) for name in names}
    found = list(schema.leaves({"properties": properties}))
    return {
        "$schema": DIALECT,
        "title": f"ocdnet {action}",
        "description": entry.summary,
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "default": template(action),
        "popular": sorted(key for key, leaf in found if leaf.get("popular")),
        "automl_default_parameters": sorted(_automl(found, enabled=True)),
        "automl_disabled_parameters": sorted(_automl(found, enabled=False)),
    }


def text(action: str) -> str:
    """The schema's JSON."""
    return json.dumps(build(action), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _node(node: schema.Node, default: Any, action: Action) -> schema.Node:
    """A node as the action sees it: its default, AutoML's annotations only where it searches."""
    if "properties" in node:
        properties = {
            name: _node(child, default[name], action) for name, child in node["properties"].items()
        }
        return node | {"properties": properties}
    leaf = {key: value for key, value in node.items() if key != "x_extra"} | {"default": default}
    if not action.automl:
        return {key: value for key, value in leaf.items() if key not in _AUTOML_ONLY}
    # What declares no range to search is never searched, not even when asked for by name.
    return leaf if "search" in leaf else leaf | {"automl_enabled": False}


def _automl(leaves: list[tuple[str, schema.Node]], *, enabled: bool) -> Iterator[str]:
    return (key for key, leaf in leaves if leaf.get("automl_enabled") is enabled)
