"""What a key takes and does, in words, for `ocdnet spec` and the reference pages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ocdnet.catalogue import ACTIONS
from ocdnet.catalogue_entry import Action
from ocdnet.config import compat, schema, spec
from ocdnet.config.experiment import RULES
from ocdnet.config.rules import Rule
from ocdnet.tree import keys, nodes
from ocdnet.tree.normalise import unknown_key


def keys_of(action: Action) -> dict[str, nodes.Node]:
    """Every key that an action reads, with its node and the action's default; required first."""
    defaults = spec.action_defaults(action)
    known = {
        key: node | {"default": keys.get(defaults, key)}
        for key, node in schema.leaves()
        if key.partition(".")[0] in action.reads
    }
    return dict(sorted(known.items(), key=lambda pair: pair[0] not in action.required))


def popular_keys_of(action: Action) -> dict[str, nodes.Node]:
    """Those that are required, and those often changed of what the action uses."""
    return {
        key: node
        for key, node in keys_of(action).items()
        if key in action.required or (node.get("popular") and action.uses(key))
    }


def line(key: str, node: nodes.Node, action: Action) -> str:
    """A key in one line: name, default, and what it does; of a required one no default."""
    value = "REQUIRED" if key in action.required else json.dumps(node["default"])
    return f"{key} = {value}: {node['description']}"


def short_line(key: str, node: nodes.Node, action: Action) -> str:
    """A key in one line: name, default, and its choices or bounds where it has some."""
    value = "REQUIRED" if key in action.required else abridged(node["default"])
    takes = takes_short(node)
    return f"{key} = {value} ({takes})" if takes else f"{key} = {value}"


def takes_short(node: nodes.Node) -> str:
    """Choices or bounds in short; "" where there are none."""
    node = nodes.core(node)
    if "enum" in node:
        return " | ".join(map(str, node["enum"])) if len(node["enum"]) > 1 else "fixed"
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and low == high:
        return "fixed"
    text = f"{low}..{'' if high is None else high}" if low is not None else ""
    return text + (f", x{node['multipleOf']}" if "multipleOf" in node else "")


def searched(node: nodes.Node) -> str:
    """How AutoML treats a key: "" for never, else when and in which range."""
    search = node.get("search")
    if search is None:
        return ""
    when = "by default" if node.get("automl_enabled") else "on request"
    if "metric" in search:
        when += f" with metric {search['metric']}"
    if node.get("type") == "array":
        return f"{when}, {len(search['choices'])} choices"
    if "choices" in search:
        return f"{when}: {', '.join(map(str, search['choices']))}"
    return f"{when}: {search['min']} to {search['max']}, {search['scale']}"


def explain(key: str) -> dict[str, Any]:
    """All there is to know about a key, or the keys of a section.

    Raises:
        SpecFieldError: `unknown-key`.
    """
    node = schema.find(key)
    if key not in schema.known_keys() or node is None:
        raise unknown_key(schema.experiment(), key)
    if "properties" in node:
        below = [f"{key}.{name}" for name in node["properties"]]
        return {"key": key, "does": node["description"], "keys": below}
    readers = [action for action in ACTIONS.values() if key in keys_of(action)]
    facts = {
        "key": key,
        "does": node["description"],
        "takes": nodes.describe(node),
        "default": node["default"],
        "defaults": _differing(key, node, readers),
        "read_by": "all actions" if len(readers) == len(ACTIONS) else [a.name for a in readers],
        "required_by": [action.name for action in readers if key in action.required],
        "rules": rules_about(key),
        "searched": searched(node),
        "depends_on": node.get("depends_on"),
        "no_effect": next((entry.says for entry in compat.COMPAT if entry.key == key), None),
        "not_in_tao": "x_extra" in node,
    }
    always = ("key", "does", "takes", "default")
    return {name: fact for name, fact in facts.items() if fact or name in always}


def rules() -> list[Rule]:
    """The rules between keys, each once, without the keys that an action requires."""
    sections = dict.fromkeys(name for action in ACTIONS.values() for name in action.sections)
    return list(dict.fromkeys(rule for name in sections for rule in RULES.get(name, ())))


def rules_about(key: str) -> list[str]:
    """The rules that are about a key, in words."""
    return [rule.says for rule in rules() if key in rule.keys]


def _differing(key: str, node: nodes.Node, readers: list[Action]) -> Mapping[str, Any]:
    """The default of each action where it is another one."""
    values = {action.name: keys_of(action)[key]["default"] for action in readers}
    return {name: value for name, value in values.items() if value != node["default"]}


def abridged(value: Any) -> str:
    """A default as JSON; of a list of steps their names."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return "[" + ", ".join(f"{item.get('type', '')} ..." for item in value) + "]"
    return json.dumps(value)
