"""The plan in one sentence, and the files that will be there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ocdnet.catalogue_entry import Action
from ocdnet.launch.platforms import LOCAL
from ocdnet.policy.case import BY_SKILL, Case
from ocdnet.policy.placing import target_of
from ocdnet.spec_keys import NUM_EPOCHS, VALIDATE_DATA
from ocdnet.tree import keys

_KEY = re.compile(r"\{([\w.]+)\}")


def promised_files(entry: Action, tree: Mapping[str, Any]) -> list[str]:
    """Names of the files that matter in the job's folder or elsewhere."""
    return [_KEY.sub(lambda key: _text(tree, key[1]), file) for file in entry.of(tree).files]


def summary(case: Case, tree: Mapping[str, Any], trials: int | None) -> str:
    """The plan in one sentence, for the user to confirm.

    Args:
        case: what is planned.
        tree: the complete spec.
        trials: of an AutoML search; None: it is no search.
    """

    def shown(match: re.Match[str]) -> str:
        if match[1] != NUM_EPOCHS:
            return _text(tree, match[1], "a model" if match[1] == case.entry.model else "?")
        search = f" in each of {trials} AutoML trials" if trials else ""
        return epochs(keys.get(tree, match[1])) + search

    sentence = _KEY.sub(shown, case.entry.does)
    if case.entry.trains and keys.get(tree, VALIDATE_DATA):
        sentence += f", validated on {_text(tree, VALIDATE_DATA)}"
    if case.runner == BY_SKILL:
        return f"{sentence}."  # where, that skill decides
    where = "" if case.request.platform == LOCAL else f", on {case.request.platform}"
    return f"{sentence}; results in {target_of(case.run, tree)}{where}."


def epochs(number: Any) -> str:
    """A number of epochs in words."""
    return "1 epoch" if number == 1 else f"{number} epochs"


def _text(tree: Mapping[str, Any], key: str, absent: str = "?") -> str:
    """A spec's value as people read it."""
    value = keys.get(tree, key)
    if isinstance(value, list):
        return ", ".join(map(str, value)) or absent
    return absent if value in (None, "", "???") else str(value)
