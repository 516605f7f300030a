"""Plans as the command prints them."""

from __future__ import annotations

from typing import Any

from ocdnet.policy import plan
from ocdnet.runs.typed import to_json


def build(*arguments: Any) -> dict[str, Any]:
    """The document of `ocdnet.policy.plan.build`."""
    return to_json(plan.build(*arguments))


def texts(notes: Any) -> list[str]:
    """The sentences of a list of notes."""
    return [note.text for note in notes]
