"""What may follow each job of a results folder: the action, what it takes, its command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocdnet.catalogue import PLANNED, RESUME_ACTION, RUNS, SEARCH
from ocdnet.catalogue_entry import Action, Input
from ocdnet.errors import DataError
from ocdnet.notes import Notes
from ocdnet.policy.found_nothing import found_nothing
from ocdnet.policy.image_size import size_changes
from ocdnet.policy.parents import Choice, Context, resolve
from ocdnet.policy.placing import free_results_dir
from ocdnet.policy.round_to import ROUND_TO, most
from ocdnet.runs.files import BEST_SPEC, EXPERIMENT, is_file
from ocdnet.runs.jobs import SECTIONS, TRAINING, RunFolder, named
from ocdnet.spec_keys import TRAIN_RESULTS
from ocdnet.tree import keys
from ocdnet.tree.yaml_io import inline_yaml

if TYPE_CHECKING:
    from ocdnet.runs.searches import SearchResult


@dataclass(frozen=True, kw_only=True)
class FollowUp:
    """One command that may be run next.

    Attributes:
        action: what it does; "resume" runs train.
        takes: the file of the job that it takes, None where the user must choose one.
        why: how that was chosen, or what to choose from.
        command: a line for a shell.
        needs: what must be added to the command, with a placeholder in capitals.
    """

    action: str
    takes: str | None
    why: str
    command: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Step:
    """A job, and the action that may follow it.

    Attributes:
        job: what was done.
        root: the results folder that was asked about.
        program: the start of a command line, quoted for a shell.
        entry: the action that follows.
        choice: the file that it takes; None: the user must choose.
        notes: what was asked and warned of in choosing.
    """

    job: RunFolder
    root: Path
    program: str
    entry: Action
    choice: Choice | None
    notes: Notes

    @property
    def takes(self) -> str | None:
        return self.choice.value if self.choice else None

    @property
    def why(self) -> str:
        """How the file was chosen, in sentences for people."""
        chosen = [self.choice.why] if self.choice else []
        said = [note.text for note in (*self.notes.why, *self.notes.warnings)]
        return " ".join([*chosen, *said, *(asked.question for asked in self.notes.missing)])


def follow_ups(job: RunFolder, root: Path, program: str) -> list[FollowUp]:
    """What may follow a job; nothing while it runs.

    Args:
        job: one of `run_folders(root)`.
        root: the results folder that was asked about.
        program: the start of a command line, quoted for a shell.
    """
    return list(_following(job, root, program))


def resumption(job: RunFolder, program: str) -> FollowUp | None:
    """How to go on with a training run that ended early; None where it can't be."""
    halted = job.progress.state == "FAILURE" or job.perhaps_killed
    if job.action == SEARCH and halted and job.experiment:
        return _search_again(job, program)
    return _resumed(job, program) if halted else None


def _resumed(job: RunFolder, program: str) -> FollowUp | None:
    """How to go on with a training, whether it has ended or not; None where it can't be."""
    if job.action not in TRAINING or not job.experiment:
        return None
    step = _step(job, job.folder, program, RESUME_ACTION)
    if step is None or step.takes is None:
        return None
    done, total = job.progress.epoch, job.progress.epochs
    needs = done is not None and total is not None and done >= total
    changes = {str(RESUME_ACTION.model): step.takes, TRAIN_RESULTS: str(job.folder)}
    return FollowUp(
        action=RESUME_ACTION.name,
        takes=step.takes,
        why=step.why,
        command=_command(step, changes),
        needs=(f"train.num_epochs=TOTAL (in all, above the {done} done)",) if needs else (),
    )


def _following(job: RunFolder, root: Path, program: str) -> Iterator[FollowUp]:
    if job.running:
        return
    poor = bool(found_nothing(job))
    resumed = resumption(job, program) or (_resumed(job, program) if poor else None)
    if resumed is not None:
        yield resumed
    if poor and job.search is not None and is_file(job.folder / BEST_SPEC):
        yield _train_longer(job, job.search, program)
    maker = RUNS.get(job.action or "")
    for name in maker.followed_by if maker else ():
        step = _step(job, root, program, PLANNED[name])
        if step is not None:
            yield _follow_up(step)
    if not poor and job.search is not None and is_file(job.folder / BEST_SPEC):
        yield _train_longer(job, job.search, program)


def _step(job: RunFolder, root: Path, program: str, entry: Action) -> _Step | None:
    """The action with the job's file that it takes; None where the job left none that fits."""
    notes = Notes()
    context = Context(entry=entry, parent=job.folder, results_dir="", notes=notes)
    key = entry.model or ""
    try:
        choice = resolve(entry.fills[key], key, context)
    except DataError:
        return None
    if choice is not None and not is_file(Path(choice.value)):
        return None  # the job will write it, or writes it now
    return _Step(job, root, program, entry, choice, notes)


def _search_again(job: RunFolder, program: str) -> FollowUp:
    """The search once more: it goes on where it was cut off."""
    options = job.search.search if job.search else None
    words = [program, SEARCH, "-e", shlex.quote(str(job.folder / EXPERIMENT))]
    words += ["--metric", job.search.metric] if job.search else []
    for name in ("trials", "epochs", "minutes", "sampler", "pruner", "study"):
        value = getattr(options, name, None)
        words += [] if value is None else [f"--{name}", shlex.quote(str(value))]
    for flag, name in (("--search", "asked"), ("--fix", "fixed")):
        for key in getattr(options, name, None) or ():
            words += [flag, shlex.quote(key)]
    return FollowUp(
        action=SEARCH,
        takes=None,
        why="The same search goes on: finished trials are not repeated.",
        command=" ".join(words),
        needs=("--storage URL",) if options is not None and options.study else (),
    )


def _train_longer(job: RunFolder, search: SearchResult, program: str) -> FollowUp:
    """A training with the best trial's settings."""
    best, notes = search.best, Notes()
    folder = free_results_dir(str(named(job.folder).parent), "train", notes)
    spec = str(job.folder / BEST_SPEC)
    words = [program, "train", "-e", shlex.quote(spec), _override("results_dir", folder)]
    number = best.trial if best else "?"
    return FollowUp(
        action="train",
        takes=spec,
        why=f"The settings of trial {number}, to train longer with; its model is ready as it is.",
        command=" ".join(words),
        needs=("train.num_epochs=EPOCHS",),
    )


def _follow_up(step: _Step) -> FollowUp:
    """The command of an action that takes the job's model."""
    job, entry = step.job, step.entry
    data = [item for item in entry.data if item.key in entry.required]
    # A spec that says nothing of what follows is no start for it: its command is a plan.
    if not job.experiment or entry.planned_anew:
        parent = shlex.quote(str(job.folder))
        command = f"{step.program} plan --action {entry.name} --parent {parent}"
        needs = [f"{item.source.flag} FOLDER" for item in data]
    else:
        command = _command(step, _changes(step))
        needs = [] if step.takes else [f"{entry.model}=FILE"]
        needs += [_need(item) for item in data if not _given(job.experiment, item.key)]
    return FollowUp(
        action=entry.name, takes=step.takes, why=step.why, command=command, needs=tuple(needs)
    )


def _need(item: Input) -> str:
    return f"{item.key}={'[FOLDER]' if item.many else 'FOLDER'}"


def _changes(step: _Step) -> dict[str, Any]:
    """What the command sets beside the job's own spec: the model, its size, where to write."""
    job, entry = step.job, step.entry
    changes: dict[str, Any] = {}
    if step.takes and entry.model:
        changes[entry.model] = step.takes
    replaced = f"{entry.section}.checkpoint"
    if "engine" in entry.takes and _given(job.experiment, replaced):
        changes[replaced] = ""
    changes |= size_changes(entry, job)
    fits = most(keys.get(job.experiment, "model.backbone"), job)
    given = keys.get(job.experiment, ROUND_TO)
    unfit = fits is not None and not (isinstance(given, int) and given <= fits)
    if ROUND_TO.startswith(f"{entry.section}.") and unfit:
        changes[ROUND_TO] = fits
    inside = job.folder.name not in SECTIONS and job.folder.samefile(step.root)
    base = named(job.folder if inside else job.folder.parent)
    folder = free_results_dir(str(base), entry.section, step.notes)
    context = Context(entry=entry, parent=None, results_dir=folder, notes=Notes())
    for output in entry.outputs:
        written = resolve(output.fill, output.key, context) if output.model else None
        if written is not None:
            changes[output.key] = written.value
    if job.section(entry.section).get("results_dir"):  # it would win over results_dir
        changes[f"{entry.section}.results_dir"] = str(Path(folder, entry.section))
    return changes | {"results_dir": folder}


def _given(tree: Mapping[str, Any], key: str) -> bool:
    return keys.get(tree, key) not in (None, "", "???", [])


def _command(step: _Step, changes: Mapping[str, Any]) -> str:
    spec = shlex.quote(str(step.job.folder / EXPERIMENT))
    overrides = [_override(key, value) for key, value in changes.items()]
    return " ".join([step.program, step.entry.section, "-e", spec, *overrides])


def _override(key: str, value: Any) -> str:
    return shlex.quote(f"{key}={inline_yaml(value)}")
