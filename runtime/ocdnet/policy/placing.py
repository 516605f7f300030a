"""Where a planned job writes: never over an earlier run."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from ocdnet.catalogue_entry import Action
from ocdnet.notes import Notes
from ocdnet.spec_keys import results_folder
from ocdnet.tree import keys

RESULTS_DIR = "results"
"""Where the user names no folder."""


def folder_of(entry: Action, tree: Mapping[str, Any]) -> Path:
    """Folder of the results of what runs, under a spec."""
    own = keys.get(tree, f"{entry.section}.results_dir")
    return results_folder(tree.get("results_dir") or RESULTS_DIR, own or "", entry.section)


def target_of(entry: Action, tree: Mapping[str, Any]) -> str:
    """Where the results of what runs go, as people read it: a folder, or a URI."""
    own = keys.get(tree, f"{entry.section}.results_dir")
    root = tree.get("results_dir") or RESULTS_DIR
    if "://" not in (own or root):
        return str(folder_of(entry, tree))
    return own or f"{root.rstrip('/')}/{entry.section}"


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
