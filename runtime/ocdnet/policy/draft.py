"""A complete spec from a template, the user's file and overrides, checked against the schema."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocdnet.catalogue import ACTIONS
from ocdnet.catalogue_entry import Action
from ocdnet.notes import Notes
from ocdnet.policy.artifacts import Skill
from ocdnet.policy.case import Case
from ocdnet.policy.precision import precision_override
from ocdnet.presets import PRESET, filled
from ocdnet.spec_keys import (
    LOAD_PRUNED,
    PRETRAINED,
    PRUNED_GRAPH,
    RESUME,
    TRAIN_DATA,
    TRAIN_RESULTS,
)
from ocdnet.tree import keys, nodes, overrides, references, yaml_io
from ocdnet.tree.nodes import MISSING, Node
from ocdnet.tree.normalise import Normaliser
from ocdnet.tree.problems import DataFieldError, SpecFieldError

if TYPE_CHECKING:
    from jsonschema import ValidationError

_CODES = {
    "enum": "bad-choice",
    "pattern": "bad-choice",
    "minimum": "out-of-range",
    "maximum": "out-of-range",
    "multipleOf": "out-of-range",
}
_SHARED = ("dataset", "model", "train", "wandb")
_OWN = (TRAIN_RESULTS, RESUME, PRETRAINED, LOAD_PRUNED, PRUNED_GRAPH)
"""Paths of one job that its followers decide anew."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A spec in the making: each layer lies over those before it.

    Attributes:
        entry: the action whose schema and template it follows.
        schema: that schema; None where it is missing or damaged: nothing is checked then.
        defaults: the template's values.
        inherited: what an earlier job's spec says of them.
        given: what the user's file and overrides say of the action's sections.
        changes: what the plan sets, by dotted key.
        elsewhere: what they say of other sections, which references in `given` may name.
        root: every section's schema.
    """

    entry: Action
    schema: Node | None
    defaults: dict[str, Any]
    inherited: dict[str, Any] = field(default_factory=dict)
    given: dict[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    elsewhere: Mapping[str, Any] = field(default_factory=dict)
    root: Node = field(default_factory=dict)

    @property
    def tree(self) -> dict[str, Any]:
        """The complete spec; not to be changed."""
        return self._resolved[0]

    @property
    def unresolved(self) -> list[SpecFieldError]:
        """What is wrong with references in it, or what they name and is not given."""
        return self._resolved[1]

    @cached_property
    def _resolved(self) -> tuple[dict[str, Any], list[SpecFieldError]]:
        tree = copy.deepcopy(self.defaults)
        for layer in (self.inherited, self.given, keys.nested(self.changes)):
            _overlay(tree, layer)
        if not references.has_references(tree):
            return tree, []
        whole, problems = references.resolved(
            {**self.elsewhere, **tree}, self.entry.reads, nodes.defaults(self.root), self.root
        )
        return {key: whole[key] for key in tree}, problems

    def with_changes(self, changes: Mapping[str, Any]) -> Draft:
        """The draft with further keys set."""
        return replace(self, changes={**self.changes, **changes}) if changes else self

    def inheriting(self, tree: dict[str, Any]) -> Draft:
        """The draft on top of an earlier job's spec."""
        return replace(self, inherited=tree)

    def at(self, key: str) -> Any:
        """What stands at a dotted key of the complete spec; None where nothing."""
        return keys.get(self.tree, key)

    def value(self, key: str) -> Any:
        """What the user gave for a dotted key; None where nothing."""
        value = keys.get(self.given, key)
        return self.at(key) if references.has_references(value) else value

    def known(self, key: str) -> Any:
        """What the user gave for a dotted key, else what is inherited; None where nothing."""
        value = self.value(key)
        return keys.get(self.inherited, key) if value is None else value

    def ours(self) -> list[str]:
        """Dotted keys that TAO does not know: the schema's that the template lacks."""
        if self.schema is None:
            return []
        return [key for key, _ in nodes.leaves(self.schema) if not keys.has(self.defaults, key)]

    def differences(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """The dotted keys of a complete spec that hold something else than the template."""
        differing: dict[str, Any] = {}
        _differ(self.defaults, tree, "", differing)
        order = self.entry.reads
        return dict(sorted(differing.items(), key=lambda pair: order.index(_section(pair[0]))))


def draft(case: Case) -> Draft:
    """Read the user's spec and overrides for an action; a precision is one more override.

    Raises:
        SpecError: as `ocdnet ACTION -e FILE key=value` would: YAML, unknown keys, not finite.
    """
    entry, skill, request = case.entry, case.skill, case.request
    schema = skill.schema(entry.spec) if skill.has_schema(entry.spec) else None
    precision = precision_override(case, schema)
    tree = yaml_io.read(Path(request.spec)) if request.spec else {}
    if schema is None:
        loose = overrides.apply(tree, request.overrides, {"type": "object"})
        return Draft(entry=entry, schema=None, defaults=_template(entry, skill), given=loose)
    places = [nodes.find(schema, key_of(override)) for override in request.overrides]
    whole = tree or None in places or any(map(references.has_references, request.overrides))
    root = _experiment(skill) if whole else schema
    normaliser = Normaliser(root, entry.reads)
    wanted = (*request.overrides, *precision)
    experiment = normaliser.known(overrides.apply(tree, wanted, root, entry.reads), root)
    _refuse_unread(entry, schema, request.overrides)
    read = {key: value for key, value in experiment.items() if key in schema["properties"]}
    given, overruled = filled(normaliser.mapping(read, schema))
    for sentence in overruled:
        case.notes.warn(f"{sentence}.", PRESET)
    if normaliser.problems:
        raise normaliser.problems[0]
    made = Draft(
        entry=entry,
        schema=schema,
        defaults=dict(schema["default"]),
        given=given,
        elsewhere={key: value for key, value in experiment.items() if key not in read},
        root=root,
    )
    for problem in made.unresolved:
        if problem.code != "missing-value":  # that may be given yet
            raise problem
    return made


def inheritance(experiment: Mapping[str, Any], entry: Action, skill: Skill) -> dict[str, Any]:
    """What an earlier job's resolved spec hands on: the sections that both have, less its paths.

    Args:
        experiment: its experiment.yaml.
        entry: the action that inherits.
        skill: whose schema decides what can be taken.

    Raises:
        SpecError: it is not a spec.
    """
    if not skill.has_schema(entry.spec):
        return {}
    schema = skill.schema(entry.spec)
    normaliser = Normaliser(schema)
    taken = {key: experiment[key] for key in _SHARED if isinstance(experiment.get(key), dict)}
    taken = {key: value for key, value in taken.items() if key in schema["properties"]}
    normal = normaliser.mapping(normaliser.known(taken, schema), schema)
    if normaliser.problems:
        raise normaliser.problems[0]
    for key in _OWN:
        keys.drop(normal, key)
    if TRAIN_DATA not in {item.key for item in entry.inputs}:
        keys.drop(normal, "dataset.train_dataset")
    return normal


def check_values(draft: Draft) -> None:
    """Check the type and range of each value, before anything is computed from them.

    Raises:
        SpecFieldError: a value of a wrong type or out of range.
    """
    if draft.schema is not None:
        for error in _errors({k: v for k, v in draft.schema.items() if k != "allOf"}, draft.tree):
            raise _refused(draft.schema, error)


def check(draft: Draft, notes: Notes) -> None:
    """Check a complete spec against its schema; a required value that is missing is asked for.

    Raises:
        SpecFieldError: a value of a wrong type or out of range, or a rule between keys broken.
    """
    schema = draft.schema
    if schema is None:
        return
    for problem in draft.unresolved:
        notes.ask(str(problem.key), f"{problem.message}. What is it?", key=str(problem.key))
    for error in _errors(schema, draft.tree):
        if error.absolute_schema_path[0] == "allOf":
            _rule_broken(schema["allOf"][error.absolute_schema_path[1]], draft, notes)
        else:
            raise _refused(schema, error)


def _errors(schema: Node, tree: Mapping[str, Any]) -> list[ValidationError]:
    """What a schema says of a spec: the rules of allOf first, in their declared order."""
    import jsonschema  # noqa: PLC0415 - a tenth of a second, here alone

    errors = jsonschema.Draft202012Validator(schema).iter_errors(tree)
    return sorted(errors, key=lambda error: list(error.schema_path)[:2])


def _rule_broken(rule: Node, draft: Draft, notes: Notes) -> None:
    kind, key = rule["x_rule"]["kind"], rule["x_rule"]["key"]
    sentence = rule["description"]
    if kind == "needed":
        if key not in notes.asked_keys:
            from_parent = key == draft.entry.model
            which = "Which earlier job's model (--parent RESULTS_DIR)?" if from_parent else ""
            about = "--parent" if from_parent else key
            notes.ask(about, f"{sentence} {which or 'What is it?'}", key=key)
        return
    got = draft.at(key)
    if kind == "no-archive":
        raise DataFieldError(
            "archive-as-path",
            key,
            sentence.rstrip("."),
            got=got,
            expected="an extracted folder",
            hint="Extract it first: ocdnet data extract ARCHIVE --out DIR",
        )
    raise SpecFieldError("conflict", key, sentence.rstrip("."), got=got)


def _refused(schema: Node, error: ValidationError) -> SpecFieldError:
    parts, got = [str(part) for part in error.absolute_path], error.instance
    key, code = ".".join(parts), _CODES.get(str(error.validator), "wrong-type")
    fault = {"bad-choice": "is not one of its choices", "out-of-range": "is out of range"}
    node = nodes.find(schema, key) or {}
    return SpecFieldError(
        code,
        key,
        f"{key!r} {fault.get(code, 'has the wrong type')}",
        got=got,
        expected=nodes.describe(node),
        hint=f"See `ocdnet spec explain {'.'.join(p for p in parts if not p.isdecimal())}`.",
    )


def _refuse_unread(entry: Action, schema: Node, given: Sequence[str]) -> None:
    """An override that the action would pass over is a mistake; in a file it is another's."""
    for override in given:
        key = key_of(override)
        if _section(key) not in schema["properties"]:
            own = f"{entry.section}.{key.partition('.')[2]}"
            raise SpecFieldError(
                "key-not-read",
                key,
                f"{entry.spec} does not read {key!r}",
                did_you_mean=own if nodes.find(schema, own) else None,
                got=override,
                expected=f"a key of {', '.join(schema['properties'])}",
            )


def key_of(override: str) -> str:
    """The dotted key of a `key=value` text."""
    return override.partition("=")[0].lstrip("+~")


def _section(key: str) -> str:
    return key.partition(".")[0]


def _experiment(skill: Skill) -> Node:
    """Every section of every action's schema."""
    properties: dict[str, Any] = {}
    for name in ACTIONS:
        if skill.has_schema(name):
            for key, node in skill.schema(name)["properties"].items():
                properties.setdefault(key, node)
    return {"type": "object", "properties": properties}


def _template(entry: Action, skill: Skill) -> dict[str, Any]:
    """The template alone, where the schema is missing; empty where it is missing, too."""
    there = skill.has_template(entry.spec)
    return yaml_io.read(skill.template_path(entry.spec)) if there else {}


def _overlay(tree: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            _overlay(tree[key], value)
        else:
            tree[key] = copy.deepcopy(value)


def _differ(
    base: Mapping[str, Any], tree: Mapping[str, Any], prefix: str, differing: dict[str, Any]
) -> None:
    for key, value in tree.items():
        default = base.get(key, MISSING)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            _differ(default, value, f"{prefix}{key}.", differing)
        elif value != default or (type(value) is bool) != (type(default) is bool):
            differing[f"{prefix}{key}"] = value
