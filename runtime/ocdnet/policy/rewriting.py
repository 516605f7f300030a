"""A run that goes on from an epoch before its last rewrites what came after: asked about first."""

from __future__ import annotations

from pathlib import Path

from ocdnet.notes import Notes
from ocdnet.policy.case import Case
from ocdnet.policy.draft import Draft
from ocdnet.policy.placing import folder_of, free_results_dir
from ocdnet.runs.files import BEST, LATEST, RESULTS, STATUS, epoch_of, is_file
from ocdnet.runs.jobs import job_in, same_folder
from ocdnet.spec_keys import RESUME, TRAIN_RESULTS

_SHOWN = 5


def ask_before_rewriting(case: Case, draft: Draft) -> None:
    """Ask where to go on, if the run's own folder holds epochs after the one it goes on from.

    `--set train.results_dir=` answers that it is this folder, any other folder that it is not.
    """
    start = draft.at(RESUME)
    if not case.entry.trains or not isinstance(start, str) or not is_file(Path(start)):
        return
    folder, later = folder_of(case.entry, draft.tree), _later(Path(start))
    agreed = any(given.startswith(f"{TRAIN_RESULTS}=") for given in case.request.overrides)
    if not later or agreed or not same_folder(folder, Path(start).resolve().parent):
        return
    free = free_results_dir(str(folder.parent), case.entry.section, Notes())
    names = [path.name for path in later]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    case.notes.ask(
        "--results-dir",
        f"{folder} holds later epochs than {Path(start).name}: {', '.join(names[:_SHOWN])}{more}. "
        f"To go on in this folder writes over each of them that the run gets to, over {BEST}, "
        f"{LATEST} and {RESULTS}; epochs that it does not get to stay, of the run before, and "
        f"{STATUS} tells both. Into a folder of its own (--results-dir {free}), or over them "
        f"(--set {TRAIN_RESULTS}={folder})?",
        key=TRAIN_RESULTS,
    )


def _later(start: Path) -> list[Path]:
    """The checkpoints beside one that are of a later epoch or step."""
    resolved = start.resolve()
    job = job_in(resolved.parent)
    if job is None:
        return []
    files = job.files.checkpoints
    beside = [path.name for path in files]
    if resolved.name in beside:
        return list(files[beside.index(resolved.name) + 1 :])
    best = job.best if resolved.name == BEST else None
    return [] if best is None else [path for path in files if (epoch_of(path) or 0) >= best.epoch]
