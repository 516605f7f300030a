"""What every part of the plan looks at: the action, the request, the skill, and the notes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ocdnet.catalogue import AUTOML
from ocdnet.catalogue_entry import Action
from ocdnet.notes import Notes
from ocdnet.policy.artifacts import Skill
from ocdnet.policy.request import Request

SearchRunner = Literal["ocdnet automl", "skill"]
"""What runs a search: ours, by the plan's commands, or NVIDIA's AutoML skill."""
SEARCH_HERE: SearchRunner = "ocdnet automl"
BY_SKILL: SearchRunner = "skill"


@dataclass(frozen=True)
class Case:
    """One request on its way to a plan.

    Attributes:
        entry: the action that is planned.
        request: what the user asks for.
        skill: whose generated files decide.
        notes: told what is decided, changed and missing.
        program: how the user calls `ocdnet`, quoted for a shell.
        runner: of a search over hyperparameters, what runs it; None: it is a direct run.
    """

    entry: Action
    request: Request
    skill: Skill
    notes: Notes
    program: str
    runner: SearchRunner | None = None

    @property
    def run(self) -> Action:
        """What will run and leave a folder: the action, or the search with its spec."""
        return AUTOML if self.runner else self.entry

    @property
    def parent(self) -> Path | None:
        """Results folder of the earlier job."""
        return Path(self.request.parent) if self.request.parent else None
