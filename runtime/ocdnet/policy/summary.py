"""Where a planned job writes, what will be there, and the plan in one sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from ocdnet.catalogue_entry import Action
from ocdnet.notes import Notes
from ocdnet.policy.case import BY_SKILL, Case
from ocdnet.spec_keys import NUM_EPOCHS, VALIDATE_DATA, results_folder
from ocdnet.tree import keys

_RESULTS = "results"
_KEY = re.compile(r"\{([\w.]+)\}")


def folder_of(entry: Action, tree: Mapping[str, Any]) -> Path:
    """Folder of the results of what runs, under a spec."""
    own = keys.get(tree, f"{entry.section}.results_dir")
    return results_folder(tree.get("results_dir") or _RESULTS, own or "", entry.section)


def free_results_dir(base: str, section: str, notes: Notes) -> str:
    """The folder itself, or the first of `<base>-2`, `-3` ... in which the section has no results.

    An earlier run is never written over.
    """
    if not _taken(Path(base) / section):
        return base
    plain = base.rstrip("/")
    free = next(f"{plain}-{n}" for n in count(2) if not _taken(Path(f"{plain}-{n}") / section))
    notes.warn(
        f"{base}/{section} holds an earlier job: this one writes to {free}/{section}.",
        "results_dir",
    )
    return free


def _taken(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except NotADirectoryError:
        return True
    except OSError:
        return False


def promised_files(entry: Action, tree: Mapping[str, Any]) -> list[str]:
    """Names of the files that matter in the job's folder or elsewhere."""
    named = [_KEY.sub(lambda key: _text(tree, key[1]), file) for file in entry.of(tree).files]
    return [*named, "status.json"]


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
        search = f" in each of {trials} trials of an AutoML search" if trials else ""
        return epochs(keys.get(tree, match[1])) + search

    sentence = _KEY.sub(shown, case.entry.does)
    if case.entry.trains and keys.get(tree, VALIDATE_DATA):
        sentence += f", validated on {_text(tree, VALIDATE_DATA)}"
    if case.runner == BY_SKILL:
        return f"{sentence}."  # where, that skill decides
    return f"{sentence}; results in {folder_of(case.run, tree)}, on {case.request.platform}."


def epochs(number: Any) -> str:
    """A number of epochs in words."""
    return "1 epoch" if number == 1 else f"{number} epochs"


def _text(tree: Mapping[str, Any], key: str, absent: str = "?") -> str:
    """A spec's value as people read it."""
    value = keys.get(tree, key)
    if isinstance(value, list):
        return ", ".join(map(str, value)) or absent
    return absent if value in (None, "", "???") else str(value)
