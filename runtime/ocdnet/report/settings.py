"""A job's settings: what differs from the template, and all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ocdnet.catalogue import ACTIONS
from ocdnet.errors import UserError
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.runs.jobs import RunFolder
from ocdnet.runs.printed_report import SettingCompared
from ocdnet.runs.progress import shortened
from ocdnet.spec_keys import masked
from ocdnet.tree import yaml_io
from ocdnet.tree.keys import leaves
from ocdnet.tree.yaml_io import inline_yaml

_NOT_THERE = object()
_LONGEST, _LONGEST_VALUE = 300, 2000
_RESULTS_DIR = "results_dir"


@dataclass(frozen=True)
class Settings:
    """What a job was told.

    Attributes:
        changed: key, value and the template's value of what differs from it.
        text: all settings of the sections that the action reads, as YAML.
    """

    changed: list[tuple[str, str, str]]
    text: str


def settings(job: RunFolder) -> Settings | None:
    """The settings in a job's experiment.yaml; None where there are none."""
    tree = _read_by(job)
    if not tree:
        return None
    template = _template(job.action)
    changed = [
        (key, short(value), "" if usual is _NOT_THERE else short(usual))
        for key, value, usual in _differences(tree, template)
    ]
    return Settings(changed if template else [], yaml_io.dump(yaml_io.styled(tree)))


def differing(jobs: Sequence[Mapping[str, RunFolder]]) -> list[SettingCompared]:
    """The settings in which jobs of the same action differ, in the order of a spec.

    Args:
        jobs: of each run its jobs by action.
    """
    rows: dict[tuple[str, str], tuple[list[str], list[Any]]] = {}
    for action in dict.fromkeys(name for own in jobs for name in own):
        trees = [dict(leaves(_read_by(own[action]))) if action in own else {} for own in jobs]
        there = [tree for tree in trees if tree]
        for key in dict.fromkeys(name for tree in there for name in tree):
            values = [_plain(tree.get(key)) for tree in trees]
            distinct = {json.dumps(_plain(tree.get(key))) for tree in there}
            if len(distinct) > 1 and not key.endswith(_RESULTS_DIR):
                actions, _ = rows.setdefault((key, json.dumps(values)), ([], values))
                actions.append(action)
    return [
        SettingCompared(key=key, actions=tuple(actions), values=tuple(values))
        for (key, _), (actions, values) in rows.items()
    ]


def _read_by(job: RunFolder) -> Mapping[str, Any]:
    """The sections of a job's experiment.yaml that its action reads."""
    tree = masked(job.experiment)
    action = ACTIONS.get(job.action or "")
    if action is not None:
        tree = {key: tree[key] for key in action.reads if key in tree}
    return tree


def _plain(value: Any) -> Any:
    """A value of an untrusted spec as JSON has it; as a short text where it can't, or is long."""
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):  # a date, an infinity, a list that holds itself
        return shortened(str(value))
    return json.loads(text) if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST]}..."


def _template(action: str | None) -> Mapping[str, Any]:
    """What the action's template says; empty where this copy of the skill has none."""
    try:
        template: Mapping[str, Any] = Skill(skill_dir()).schema(action or "")["default"]
    except UserError:
        return {}
    return template


def _differences(
    tree: Mapping[Any, Any], template: Any, prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    for name, value in tree.items():
        usual = template.get(name, _NOT_THERE) if isinstance(template, Mapping) else _NOT_THERE
        if isinstance(value, Mapping) and isinstance(usual, Mapping):
            yield from _differences(value, usual, f"{prefix}{name}.")
        elif value != usual and not (usual is _NOT_THERE and value in (None, "", [], {})):
            yield f"{prefix}{name}", value, usual


def short(value: Any) -> str:
    """A value as YAML in a line of bounded length."""
    text = inline_yaml(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
