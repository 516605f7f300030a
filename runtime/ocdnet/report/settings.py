"""A job's settings: what differs from the template, and all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ocdnet.catalogue import ACTIONS
from ocdnet.errors import UserError
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.runs.jobs import RunFolder
from ocdnet.spec_keys import masked
from ocdnet.tree import yaml_io
from ocdnet.tree.yaml_io import inline_yaml

_NOT_THERE = object()
_LONGEST = 300


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
    tree = masked(job.experiment)
    action = ACTIONS.get(job.action or "")
    if action is not None:
        tree = {key: tree[key] for key in action.reads if key in tree}
    if not tree:
        return None
    template = _template(job.action)
    changed = [
        (key, _short(value), "" if usual is _NOT_THERE else _short(usual))
        for key, value, usual in _differences(tree, template)
    ]
    return Settings(changed if template else [], yaml_io.dump(yaml_io.styled(tree)))


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


def _short(value: Any) -> str:
    text = inline_yaml(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
