"""The generated files that the policy reads: skill_info, schemas and templates of one skill."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ocdnet import install
from ocdnet.errors import EnvironmentFault, UserError
from ocdnet.tree import yaml_io


def skill_dir() -> Path:
    """The folder that holds schemas/ and references/: the skill's, or a wheel's copy of them."""
    return install.skill_root() or Path(__file__).resolve().parents[1] / "artifacts"


@dataclass(frozen=True)
class Skill:
    """One skill's generated files.

    Attributes:
        root: folder with schemas/ and references/.
    """

    root: Path
    _schemas: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)

    @cached_property
    def info(self) -> dict[str, Any]:
        """references/skill_info.yaml.

        Raises:
            EnvironmentFault: it is missing or unreadable.
        """
        return self._yaml("references/skill_info.yaml")

    @cached_property
    def deploy_info(self) -> dict[str, Any]:
        """references/tao-deploy-ocdnet.skill_info.yaml; raises as `info`."""
        return self._yaml("references/tao-deploy-ocdnet.skill_info.yaml")

    def schema(self, action: str) -> dict[str, Any]:
        """schemas/<action>.schema.json without what is for AutoML clients alone.

        Its `default` is the template.

        Raises:
            EnvironmentFault: it is missing or not a schema.
        """
        if action in self._schemas:
            return self._schemas[action]
        path = self.root / f"schemas/{action}.schema.json"
        try:
            schema = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(schema["properties"], dict) and isinstance(schema["default"], dict):
                return self._schemas.setdefault(action, _of_specs(schema))
        except (OSError, ValueError, KeyError, TypeError):
            pass
        raise self._damaged(path)

    def has_schema(self, action: str) -> bool:
        """Whether an action's schema is there and is one."""
        try:
            return bool(self.schema(action))
        except UserError:
            return False

    def has_template(self, action: str) -> bool:
        """Whether an action's template is there and parses."""
        try:
            return bool(self._yaml(f"references/spec_template_{action}.yaml"))
        except UserError:
            return False

    def can_search(self, action: str) -> bool:
        """Whether an action's schema and template are there and parse."""
        return self.has_schema(action) and self.has_template(action)

    def template_path(self, action: str) -> Path:
        """The YAML file that holds every key of an action with its default."""
        return self.root / f"references/spec_template_{action}.yaml"

    def _yaml(self, name: str) -> dict[str, Any]:
        try:
            return yaml_io.read(self.root / name)
        except UserError as error:
            raise self._damaged(self.root / name) from error

    @staticmethod
    def _damaged(path: Path) -> EnvironmentFault:
        return EnvironmentFault(
            "skill-damaged",
            f"{path} is missing or not as generated",
            hint="Install the skill again, or run `make generate` in its repository.",
        )


def _of_specs(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without the properties of dotted name: ranges that AutoML clients search."""
    properties = {name: node for name, node in schema["properties"].items() if "." not in name}
    return schema | {"properties": properties}
