"""The number format that a request asks for, as an override of the action's own key."""

from __future__ import annotations

from ocdnet.catalogue import PLANNED
from ocdnet.policy.case import Case
from ocdnet.policy.checks import choice
from ocdnet.tree import nodes
from ocdnet.tree.nodes import Node

_FLAG = "--precision"


def precision_override(case: Case, schema: Node | None) -> tuple[str, ...]:
    """The override that sets the action's precision; none where none is asked for, or it has none.

    Args:
        case: the request; its notes are told.
        schema: of the action; None: it is missing.

    Raises:
        UsageError: `bad-choice`: the action has not this one.
    """
    wanted, key = case.request.precision, case.entry.precision
    if wanted is None:
        return ()
    if not key:
        have = ", ".join(name for name, entry in PLANNED.items() if entry.precision)
        lacks = f"{case.entry.name} has none to choose ({have} have)"
        case.notes.warn(f"{_FLAG} has no effect: {lacks}.", _FLAG)
        return ()
    node = nodes.find(schema, key) if schema else None
    if node is None:
        case.notes.warn(f"{_FLAG} has no effect: the schema is missing; give {key}.", _FLAG)
        return ()
    names = {str(name).lower(): str(name) for name in node["enum"]}
    choice(f"precision of {case.entry.name}", wanted, tuple(names))
    case.notes.because(f"{key} is {names[wanted]}, the precision asked for.", key)
    return (f"{key}={names[wanted]}",)
