"""A complete spec from a template, the user's file and overrides, checked against the schema."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocdnet.catalogue import ACTIONS, ROOT_KEYS
from ocdnet.notes import Notes
from ocdnet.policy.artifacts import Skill
from ocdnet.tree import keys, nodes, overrides, yaml_io
from ocdnet.tree.nodes import MISSING, Node
from ocdnet.tree.normalise import Normaliser
from ocdnet.tree.problems import DataFieldError, SpecFieldError

_CODES = {
    "enum": "bad-choice",
    "pattern": "bad-choice",
    "minimum": "out-of-range",
    "maximum": "out-of-range",
    "multipleOf": "out-of-range",
}
_SHARED = ("dataset", "model", "train", "wandb")
_OWN = (
    "train.results_dir",
    "train.resume_training_checkpoint_path",
    "model.pretrained_model_path",
    "model.load_pruned_graph",
    "model.pruned_graph_path",
)
"""Paths of one job that its followers decide anew."""


@dataclass(frozen=True)
class Draft:
    """A spec in the making.

    Attributes:
        name: action whose schema and template it follows.
        schema: that schema; None where it is missing or damaged: nothing is checked then.
        defaults: the template's values.
        inherited: what an earlier job's spec says of them.
        given: what the user's file and overrides say of the action's sections.
    """

    name: str
    schema: Node | None
    defaults: dict[str, Any]
    inherited: dict[str, Any]
    given: dict[str, Any]

    def complete(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The defaults, what is inherited, what the user gave, then changes by dotted key."""
        tree = copy.deepcopy(self.defaults)
        for layer in (self.inherited, self.given, _nested(changes)):
            _overlay(tree, layer)
        return tree

    def value(self, key: str) -> Any:
        """What the user gave for a dotted key; None where nothing."""
        return _at(self.given, key)

    def known(self, key: str) -> Any:
        """What the user gave for a dotted key, else what is inherited; None where nothing."""
        value = self.value(key)
        return _at(self.inherited, key) if value is None else value

    def ours(self) -> list[str]:
        """Dotted keys that TAO does not know: the schema's that the template lacks."""
        if self.schema is None:
            return []
        return [k for k, _ in nodes.leaves(self.schema) if not _holds(self.defaults, k)]


def draft(
    name: str,
    skill: Skill,
    file: Path | None,
    given: Sequence[str],
    inherited: dict[str, Any] | None = None,
) -> Draft:
    """Read the user's spec and overrides for an action.

    Args:
        name: an action of the registry.
        skill: whose schema and template are followed.
        file: the user's own spec, which may hold the sections of other actions.
        given: `key=value` texts.
        inherited: an earlier job's spec, in sections that the action reads.

    Raises:
        SpecError: as `ocdnet NAME -e FILE key=value` would: YAML, unknown keys, not finite.
    """
    schema = skill.schema(name) if skill.has_schema(name) else None
    tree = {} if file is None else yaml_io.read(file)
    if schema is None:
        loose = overrides.apply(tree, given, {"type": "object"})
        return Draft(name, None, _template(name, skill), inherited or {}, loose)
    root = _experiment(skill) if tree or not _all_known(schema, given) else schema
    normaliser = Normaliser(root)
    known = normaliser.known(overrides.apply(tree, given, root), root)
    _refuse_unread(name, schema, given)
    read = {key: value for key, value in known.items() if key in schema["properties"]}
    normal = normaliser.mapping(read, schema)
    if normaliser.problems:
        raise normaliser.problems[0]
    return Draft(name, schema, dict(schema["default"]), inherited or {}, normal)


def inheritance(experiment: Mapping[str, Any], name: str, skill: Skill) -> dict[str, Any]:
    """What an earlier job's resolved spec hands on: the sections that both have, less its paths.

    Args:
        experiment: its experiment.yaml.
        name: the action that inherits.
        skill: whose schema decides what can be taken.

    Raises:
        SpecError: it is not a spec.
    """
    if not skill.has_schema(name):
        return {}
    schema = skill.schema(name)
    normaliser = Normaliser(schema)
    taken = {key: experiment[key] for key in _SHARED if isinstance(experiment.get(key), dict)}
    taken = {key: value for key, value in taken.items() if key in schema["properties"]}
    normal = normaliser.mapping(normaliser.known(taken, schema), schema)
    if normaliser.problems:
        raise normaliser.problems[0]
    for key in _OWN:
        _drop(normal, key)
    if "dataset.train_dataset.data_path" not in skill.info["actions"][name]["inputs"]:
        _drop(normal, "dataset.train_dataset")
    return normal


def check(
    tree: Mapping[str, Any], schema: Node | None, from_parent: Collection[str], notes: Notes
) -> None:
    """Check a complete spec against its schema; a required value that is missing is asked for.

    Args:
        tree: the spec.
        schema: its schema; None: nothing is checked.
        from_parent: keys that an earlier job's results can fill.
        notes: asked for what is missing.

    Raises:
        SpecFieldError: a value of a wrong type or out of range, or a rule between keys broken.
    """
    if schema is None:
        return
    import jsonschema  # noqa: PLC0415 - a tenth of a second, here alone

    validator = jsonschema.Draft202012Validator(schema)
    for error in sorted(validator.iter_errors(tree), key=lambda error: list(error.schema_path)[:2]):
        if error.absolute_schema_path[0] == "allOf":
            _rule_broken(schema["allOf"][error.absolute_schema_path[1]], tree, from_parent, notes)
        else:
            raise _refused(schema, error.absolute_path, str(error.validator), error.instance)


def _rule_broken(
    rule: Node, tree: Mapping[str, Any], from_parent: Collection[str], notes: Notes
) -> None:
    key, says = rule["title"], rule["description"]
    if " is required by " in says:
        if key not in notes.asked_keys:
            parent = key in from_parent
            which = " Which earlier job's model (--parent RESULTS_DIR)?" if parent else ""
            about = "--parent" if parent else key
            notes.ask(about, f"{says}{which or ' What is it?'}", key=key)
        return
    got = keys.get(tree, key)
    if "archive" in says:
        raise DataFieldError(
            "archive-as-path",
            key,
            says.rstrip("."),
            got=got,
            expected="an extracted folder",
            hint="Extract it first: ocdnet data extract ARCHIVE --out DIR",
        )
    raise SpecFieldError("conflict", key, says.rstrip("."), got=got)


def _refused(schema: Node, path: Sequence[Any], validator: str, got: Any) -> SpecFieldError:
    parts = [str(part) for part in path]
    key, code = ".".join(parts), _CODES.get(validator, "wrong-type")
    what = {"bad-choice": "is not one of its choices", "out-of-range": "is out of range"}
    node = nodes.find(schema, ".".join(parts)) or {}
    return SpecFieldError(
        code,
        key,
        f"{key!r} {what.get(code, 'has the wrong type')}",
        got=got,
        expected=nodes.describe(node),
        hint=f"See `ocdnet spec explain {'.'.join(p for p in parts if not p.isdecimal())}`.",
    )


def _refuse_unread(name: str, schema: Node, given: Sequence[str]) -> None:
    """An override that the action would pass over is a mistake; in a file it is another's."""
    for override in given:
        key = override.partition("=")[0].lstrip("+")
        if key.partition(".")[0] not in schema["properties"]:
            raise SpecFieldError(
                "key-not-read",
                key,
                f"{name} does not read {key!r}",
                got=override,
                expected=f"a key of {', '.join(key for key in schema['properties'])}",
            )


def _all_known(schema: Node, given: Sequence[str]) -> bool:
    keys = (override.partition("=")[0].lstrip("+") for override in given)
    return all(nodes.find(schema, key) is not None for key in keys)


def _experiment(skill: Skill) -> Node:
    """Every section of every action's schema."""
    properties: dict[str, Any] = {}
    for name in ACTIONS:
        if skill.has_schema(name):
            for key, node in skill.schema(name)["properties"].items():
                properties.setdefault(key, node)
    return {"type": "object", "properties": properties}


def _template(name: str, skill: Skill) -> dict[str, Any]:
    """The template alone, where the schema is missing; empty where it is missing, too."""
    return yaml_io.read(skill.template_path(name)) if skill.has_template(name) else {}


def _overlay(tree: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            _overlay(tree[key], value)
        else:
            tree[key] = copy.deepcopy(value)


def _nested(changes: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in changes.items():
        *parents, name = key.split(".")
        container = tree
        for parent in parents:
            container = container.setdefault(parent, {})
        container[name] = value
    return tree


def _at(tree: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key; None where there is none."""
    container: Any = tree
    for part in key.split("."):
        container = container.get(part) if isinstance(container, dict) else None
    return container


def _drop(tree: dict[str, Any], key: str) -> None:
    *parents, name = key.split(".")
    for parent in parents:
        tree = tree.get(parent) or {}
    tree.pop(name, None)


def _holds(tree: Mapping[str, Any], key: str) -> bool:
    return keys.has(tree, key)


def differences(draft: Draft, tree: Mapping[str, Any]) -> dict[str, Any]:
    """The dotted keys that hold something else than the template."""
    found: dict[str, Any] = {}
    _differ(draft.defaults, tree, "", found)
    order = [*ROOT_KEYS, *ACTIONS[draft.name].sections]
    return dict(sorted(found.items(), key=lambda pair: order.index(pair[0].partition(".")[0])))


def _differ(
    base: Mapping[str, Any], tree: Mapping[str, Any], prefix: str, found: dict[str, Any]
) -> None:
    for key, value in tree.items():
        default = base.get(key, MISSING)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            _differ(default, value, f"{prefix}{key}.", found)
        elif value != default or (type(value) is bool) != (type(default) is bool):
            found[f"{prefix}{key}"] = value
