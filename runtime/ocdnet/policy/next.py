"""What may follow each job of a results folder: the action, what it takes, its command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocdnet.catalogue import SEARCH
from ocdnet.errors import DataError
from ocdnet.notes import Notes
from ocdnet.policy.image_size import Pairs, size_changes
from ocdnet.policy.parents import Context, resolve
from ocdnet.policy.summary import free_results_dir, section_of
from ocdnet.runs.files import BEST_SPEC, EXPERIMENT, is_file
from ocdnet.runs.jobs import SECTIONS, TRAINING, RunFolder, named
from ocdnet.runs.searches import SearchResult
from ocdnet.tree.yaml_io import inline_yaml

_RESUME_KEY = "train.resume_training_checkpoint_path"
# By what a job did: the built actions that take its files, and the key that takes them.
_MODEL_USERS = {
    "evaluate": "evaluate.checkpoint",
    "inference": "inference.checkpoint",
}
_FOLLOWERS: dict[str, Mapping[str, str]] = {
    "train": {
        **_MODEL_USERS,
        "export": "export.checkpoint",
        "prune": "prune.checkpoint",
        "quantize": "quantize.model_path",
    },
    "export": {**_MODEL_USERS, "gen_trt_engine": "gen_trt_engine.onnx_file"},
    "gen_trt_engine": {
        "deploy_evaluate": "evaluate.trt_engine",
        "deploy_inference": "inference.trt_engine",
    },
    "prune": {"retrain": "model.pruned_graph_path"},
    "quantize": {**_MODEL_USERS, "export": "export.checkpoint"},
}
_DATA = {
    "evaluate": ("dataset.validate_dataset.data_path", "[FOLDER]", "--eval-dataset FOLDER"),
    "inference": ("inference.input_folder", "FOLDER", "--inference-dataset FOLDER"),
    "retrain": ("dataset.train_dataset.data_path", "[FOLDER]", "--train-dataset FOLDER"),
}
_NO_DATA = ("", "", "")


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
    if job.action not in TRAINING or not halted or not job.experiment:
        return None
    notes = Notes()
    context = Context(action="resume", parent=job.folder, results_dir="", notes=notes)
    try:
        checkpoint = resolve("resume_model", _RESUME_KEY, context)
    except DataError:
        checkpoint = None
    if checkpoint is None:
        return None
    done, total = job.progress.epoch, job.progress.epochs
    needs = done is not None and total is not None and done >= total
    pairs = [(_RESUME_KEY, checkpoint), ("train.results_dir", str(job.folder))]
    return FollowUp(
        action="resume",
        takes=checkpoint,
        why=_why(notes, _RESUME_KEY, checkpoint),
        command=_command(program, "train", job, pairs),
        needs=(f"train.num_epochs=TOTAL (in all, above the {done} done)",) if needs else (),
    )


def _following(job: RunFolder, root: Path, program: str) -> Iterator[FollowUp]:
    if job.running:
        return
    resumed = resumption(job, program)
    if resumed is not None:
        yield resumed
    kind = "train" if job.action in (*TRAINING, SEARCH) else job.action
    for action, key in _FOLLOWERS.get(kind or "", {}).items():
        notes = Notes()
        context = Context(action=action, parent=job.folder, results_dir="", notes=notes)
        try:
            taken = resolve("parent_model", key, context)
        except DataError:
            continue
        yield _follow_up(action, key, taken, job, root, program, notes)
    if job.search is not None and is_file(job.folder / BEST_SPEC):
        yield _train_longer(job, job.search, program)


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


def _follow_up(
    action: str,
    key: str,
    taken: str | None,
    job: RunFolder,
    root: Path,
    program: str,
    notes: Notes,
) -> FollowUp:
    needs = [] if taken else [f"{key}=FILE"]
    section = section_of(action)
    data_key, placeholder, flag = _DATA.get(section if action != "retrain" else action, _NO_DATA)
    if not job.experiment or action == "retrain":  # prune's spec says nothing of training
        parent = shlex.quote(str(job.folder))
        command = f"{program} plan --action {action} --parent {parent}"
        return FollowUp(
            action=action,
            takes=taken,
            why=_why(notes, key, taken),
            command=command,
            needs=(flag,) if flag else (),
        )
    if data_key and not _given(job.experiment, data_key):
        needs.append(f"{data_key}={placeholder}")
    inside = job.folder.name not in SECTIONS and job.folder.samefile(root)
    base = named(job.folder if inside else job.folder.parent)
    folder = free_results_dir(str(base), section, notes)
    replaced = f"{section}.checkpoint" if key.endswith(".trt_engine") else ""
    pairs = [
        *([(key, taken)] if taken else []),
        *([(replaced, "")] if _given(job.experiment, replaced) else []),
        *size_changes(section, job),
        *_writing(section, folder, job),
    ]
    return FollowUp(
        action=action,
        takes=taken,
        why=_why(notes, key, taken),
        command=_command(program, section, job, pairs),
        needs=tuple(needs),
    )


def _given(tree: Mapping[str, Any], key: str) -> bool:
    value: Any = tree
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value not in (None, "", "???", [])


def _writing(action: str, results_dir: str, job: RunFolder) -> Pairs:
    """Where the command writes."""
    if action == "export":
        context = Context(action=action, parent=None, results_dir=results_dir, notes=Notes())
        yield "export.onnx_file", resolve("create_onnx_file", "export.onnx_file", context)
    if action == "gen_trt_engine":
        context = Context(action=action, parent=None, results_dir=results_dir, notes=Notes())
        key = "gen_trt_engine.trt_engine"
        yield key, resolve("create_engine_file", key, context)
    if job.section(action).get("results_dir"):  # it would have its way
        yield f"{action}.results_dir", str(Path(results_dir, action))
    yield "results_dir", results_dir


def _command(program: str, action: str, job: RunFolder, pairs: list[tuple[str, Any]]) -> str:
    spec = shlex.quote(str(job.folder / EXPERIMENT))
    words = [program, action, "-e", spec, *(_override(*pair) for pair in pairs)]
    return " ".join(words)


def _override(key: str, value: Any) -> str:
    return shlex.quote(f"{key}={inline_yaml(value)}")


def _why(notes: Notes, key: str, taken: str | None) -> str:
    told = [*notes.why, *notes.warnings, *(asked.question for asked in notes.missing)]
    return " ".join(told).removeprefix(f"{key} is {taken}: ")
