"""From a YAML file and overrides to a checked `Experiment`, and back."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocdnet import shorthands
from ocdnet.catalogue import ACTIONS
from ocdnet.catalogue_entry import Action
from ocdnet.config import compat, schema
from ocdnet.config.experiment import RULES, Experiment
from ocdnet.config.rules import Needed, Rule
from ocdnet.config.verdict import validated
from ocdnet.errors import SpecError, UsageError
from ocdnet.presets import filled
from ocdnet.spec_keys import NUM_EPOCHS, WARMUP, clamped_warmup, masked, results_folder
from ocdnet.tree import keys, nodes, overrides, references, yaml_io
from ocdnet.tree.nodes import merged
from ocdnet.tree.normalise import Normaliser
from ocdnet.tree.problems import Problem, SpecFieldError, missing
from ocdnet.tree.unread import unread
from ocdnet.zoo.registry import is_unknown, unknown_weights


@dataclass(frozen=True)
class Loaded:
    """A spec that is valid for an action.

    Attributes:
        action: name of the action it was checked for.
        experiment: every section; those that the action does not read hold their defaults.
        notices: what was ignored or changed, for the user to read.
    """

    action: str
    experiment: Experiment
    notices: list[str] = field(default_factory=list)


def load(action: str, path: Path | None, overrides: Sequence[str] = ()) -> Loaded:
    """Read, override and check a spec file.

    Args:
        action: name in `ACTIONS`.
        path: YAML file, or None for defaults and overrides alone.
        overrides: `key=value` texts.

    Raises:
        SpecError: the first problem of the file, an override or a value.
        DataError: a path in the spec is an archive.
    """
    return resolve(action, read(path, overrides, action), path)


def read(path: Path | None, given: Sequence[str] = (), action: str = "") -> dict[str, Any]:
    """The unchecked tree of a spec file with its overrides applied.

    Args:
        path: YAML file; None: overrides alone.
        given: `key=value` texts.
        action: that reads it: the overrides may have short names of its keys, and of keys like an
            unknown one its own are suggested first.

    Raises:
        SpecError: `bad-yaml`, `bad-override`, or `unknown-key` in an override; `key-not-read`.
    """
    tree = {} if path is None else yaml_io.read(path)
    first: Sequence[str] = ()
    if action in ACTIONS:
        first = ACTIONS[action].reads
        given = shorthands.expanded(given, ACTIONS[action], schema.experiment())
    return overrides.apply(tree, given, schema.experiment(), first)


def resolve(action: str, tree: Mapping[str, Any], file: Path | None = None) -> Loaded:
    """Check a tree for an action, read from a file if from one; raises as `load` does."""
    loaded, refusals = check(action, tree, file)
    if loaded is None:
        raise refusals[0]
    return loaded


def problems(action: str, tree: Mapping[str, Any]) -> list[Problem]:
    """Everything that keeps the tree from being valid for an action: none if it is."""
    return check(action, tree)[1]


def check(
    action: str, tree: Mapping[str, Any], file: Path | None = None
) -> tuple[Loaded | None, list[Problem]]:
    """The checked spec, or None and every problem found (unknown keys first).

    Args:
        action: name in `ACTIONS`.
        tree: what `read` gave.
        file: what it was read from, so that a problem may name a line.

    Raises:
        UsageError: no such action.
    """
    entry = _entry(action)
    normaliser = Normaliser(schema.experiment(), entry.reads)
    whole, unresolved = _resolved(tree, entry, file)
    known = normaliser.known(whole, schema.experiment())
    given = normaliser.mapping(_projected(known, entry), schema.experiment())
    normal, overruled = filled(given)
    experiment, refused = validated(_completed(normal, entry))
    refusals: list[Problem] = [*normaliser.problems, *unresolved, *refused]
    if experiment is None:
        # Once more without the refused values, so that the user sees cross-field problems, too.
        experiment, _ = validated(_completed(_without(normal, refused), entry))
    if experiment is None:
        return None, refusals
    view = _projected(schema.adapter().dump_python(experiment, mode="json"), entry)
    notices = _clamp_warmup(experiment) if "train" in entry.sections else []
    notices += overruled
    notices += compat.notices(view, schema.defaults())
    notices += _section_notices(experiment, entry)
    notices += unread(whole, entry.section, entry.reads, schema.experiment())
    refusals += _cross_field(experiment, view, entry, refusals)
    return (None if refusals else Loaded(action, experiment, notices)), refusals


def completed(action: str, tree: Mapping[str, Any]) -> dict[str, Any]:
    """A valid tree with every key the action reads: defaults, and `???` for what is not given.

    Extras of ours are in it where they are given.
    """
    entry = _entry(action)
    full = merged(action_defaults(entry), normalised(action, tree), schema.experiment())
    return without_extras(_projected(full, entry), schema.experiment())


def kept_references(given: Mapping[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a tree as `read` gave them with their references, by dotted key.

    Left out are those that name a key that the tree does not hold: they could not be resolved in
    it, or not to the same value.
    """
    kept = {}
    for key, _ in schema.leaves():
        text = keys.get(given, key)
        named = references.targets(text, key)
        if references.has_references(text) and all(keys.has(tree, target) for target in named):
            kept[key] = text
    return kept


def changed(action: str, tree: Mapping[str, Any]) -> dict[str, Any]:
    """The dotted keys of a completed tree that hold something else than the action's default."""
    defaults, values = action_defaults(_entry(action)), {}
    for key, _ in schema.leaves():
        default = keys.get(defaults, key)
        value = keys.get(tree, key, default)
        if value != default:
            values[key] = value
    return values


def normalised(action: str, tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree as the action's JSON Schema is to see it: projected, typed, without unset values."""
    entry = _entry(action)
    whole, _ = _resolved(tree, entry)
    root = schema.experiment()
    return filled(Normaliser(root).mapping(_projected(whole, entry), root))[0]


def _resolved(
    tree: Mapping[str, Any], action: Action, file: Path | None = None
) -> tuple[dict[str, Any], list[SpecFieldError]]:
    """The tree with the values that its references name, as far as the action reads them."""

    def where(key: str, text: str) -> str:
        return yaml_io.place_of(file, key, text) if file else ""

    defaults = action_defaults(action)
    return references.resolved(tree, action.reads, defaults, schema.experiment(), where)


def _entry(action: str) -> Action:
    if action in ACTIONS:
        return ACTIONS[action]
    near = keys.nearest(action, ACTIONS)
    hint = f"Did you mean {near!r}?" if near else None
    raise UsageError("unknown-action", f"No action {action!r}", action, ", ".join(ACTIONS), hint)


def _projected(tree: Mapping[str, Any], action: Action) -> dict[str, Any]:
    """What the action reads of the tree: the root keys and its sections."""
    return {key: value for key, value in tree.items() if key in action.reads}


def _completed(tree: Mapping[str, Any], action: Action) -> dict[str, Any]:
    """The tree over every default, so that a default may depend on its place and the action."""
    return merged(schema.blank(action_defaults(action)), tree, schema.experiment())


def _without(tree: dict[str, Any], refused: Sequence[SpecFieldError]) -> dict[str, Any]:
    """The tree less the fields that hold what was refused: of an item in a list, the list."""
    for problem in refused:
        for key in keys.prefixes(problem.key or ""):
            if not isinstance(keys.get(tree, key), dict):
                keys.drop(tree, key)
                break
    return tree


def action_defaults(action: Action) -> dict[str, Any]:
    """The default of every key of the experiment for one action, nested."""
    tree = copy.deepcopy(schema.defaults())
    for key, value in action.defaults.items():
        keys.set(tree, key, value)
    return tree


def _clamp_warmup(experiment: Experiment) -> list[str]:
    """Keep warm-up below num_epochs: a search sets the one and leaves the other alone."""
    schedule, epochs = experiment.train.lr_scheduler.args, experiment.train.num_epochs
    given, warmup = schedule.warmup_epoch, clamped_warmup(epochs, schedule.warmup_epoch)
    if warmup == given:
        return []
    schedule.warmup_epoch = warmup
    return [f"{WARMUP!r} is lowered from {given} to {warmup}: {NUM_EPOCHS!r} is {epochs}"]


def _cross_field(
    experiment: Experiment, tree: Mapping[str, Any], action: Action, known: Sequence[Problem]
) -> Iterator[Problem]:
    """What the rules and the sections refuse, once for each key."""
    seen = {problem.key for problem in known}
    of_rules = [problem for rule in rules_of(action) for problem in rule.problems(tree)]
    of_sections = _section_problems(experiment, action)
    for problem in [*of_rules, *of_sections, *_start_problems(experiment, action)]:
        if not any(f"{key}.".startswith(f"{problem.key}.") for key in seen):
            seen.add(problem.key)
            yield problem


def rules_of(action: Action) -> list[Rule]:
    """The rules that an action's specs obey, its required keys first."""
    needed: list[Rule] = [
        Needed(key, action.name, nodes.example(schema.find(key) or {})) for key in action.required
    ]
    of_sections = (rule for name in action.sections for rule in RULES.get(name, ()))
    return [*needed, *(rule for rule in of_sections if not _settled(rule, action))]


def _settled(rule: Rule, action: Action) -> bool:
    """Whether the action requires what would excuse from the rule."""
    return (
        isinstance(rule, Needed) and rule.unless is not None and rule.unless.key in action.required
    )


def _section_problems(experiment: Experiment, action: Action) -> Iterator[Problem]:
    for name in action.sections:
        rules = getattr(getattr(experiment, name), "problems", None)
        if rules is not None:
            yield from rules()


def _start_problems(experiment: Experiment, action: Action) -> Iterator[Problem]:
    """A name of weights that is none; other actions do not read what a training started from."""
    given = experiment.model.pretrained_model_path
    if action.trains and is_unknown(given):
        yield unknown_weights(given)


def _section_notices(experiment: Experiment, action: Action) -> Iterator[str]:
    for name in action.sections:
        notices = getattr(getattr(experiment, name), "notices", None)
        if notices is not None:
            yield from notices()


def dump(loaded: Loaded) -> dict[str, Any]:
    """The resolved spec: root keys and the action's sections, secrets masked, no unset extras."""
    tree = schema.adapter().dump_python(loaded.experiment, mode="json")
    result = without_extras(_projected(tree, ACTIONS[loaded.action]), schema.experiment())
    return masked(result)


def without_extras(tree: Mapping[str, Any], node: nodes.Node) -> dict[str, Any]:
    """The tree without keys that TAO does not know, where they hold their default."""
    result: dict[str, Any] = {}
    for key, value in tree.items():
        child = node["properties"][key]
        if "properties" in child:
            result[key] = without_extras(value, child)
        elif not ("x_extra" in child and value == child["default"]):
            result[key] = value
    return result


def to_yaml(tree: Mapping[str, Any]) -> str:
    """A resolved spec as YAML that `load` reads back to the same values."""
    return yaml_io.dump(yaml_io.styled(dict(tree)))


def results_dir(experiment: Experiment, action: str) -> Path:
    """Folder of an action's results: `<action>.results_dir`, else `<results_dir>/<action>`.

    Of a part of an inference: the folder of this part in it.

    Raises:
        SpecError: `missing-value`, where neither is given; `uri-as-folder`.
    """
    section = ACTIONS[action].section
    config = getattr(experiment, section)
    own: str = config.results_dir
    if not (own or experiment.results_dir):
        raise missing("results_dir", action, "/path/to/results")
    if "://" in (own or experiment.results_dir):
        raise SpecError(
            "uri-as-folder",
            f"{action} writes into a folder of this machine, not to a URI",
            got=own or experiment.results_dir,
            expected="a path",
            hint="--runner ray writes there."
            if ACTIONS[action].parts
            else "Set results_dir to one, and copy the results from there.",
        )
    return results_folder(experiment.results_dir, own, section) / getattr(config, "part", "")
