"""What a job takes from the one before it: the functions that skill_info's spec_params name."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ocdnet.catalogue_entry import Action, Model
from ocdnet.errors import DataError
from ocdnet.notes import Notes
from ocdnet.policy.planned import planned_jobs, promised
from ocdnet.runs.files import epoch_of, models_below
from ocdnet.runs.jobs import RunFolder, job_in, run_folders

_SHOWN = 10
_WEIGHTS = "model_best.pth or model_epoch_<EEE>_step_<SSSSS>.pth"
_PICKLE_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True)
class Context:
    """What is known where a value is to be inferred.

    Attributes:
        entry: the planned action, as it is under its spec.
        parent: results folder of the earlier job, None where none was given.
        results_dir: the planned job's.
        notes: asked where there is more than one, and warned of what may surprise.
        checkpoint: "best", "latest", or an epoch counted from 1; None for what the action takes by
            itself.
    """

    entry: Action
    parent: Path | None
    results_dir: str
    notes: Notes
    checkpoint: str | None = None


@dataclass(frozen=True)
class Choice:
    """A value that was inferred.

    Attributes:
        value: of the spec key.
        why: how it was chosen; a sentence without its subject, empty where there was no choice.
        job: the run that left the file; None of a value that is no run's file.
    """

    value: str
    why: str = ""
    job: RunFolder | None = None


def resolve(function: str, key: str, context: Context) -> Choice | None:
    """The value of a spec key by one of the functions of FUNCTIONS.

    Args:
        function: its name in skill_info's spec_params.
        key: the dotted key, as the messages name it.
        context: what is known.

    Returns:
        None where nothing is to be inferred (no parent, nothing to resume), or where the user must
        choose and was asked.

    Raises:
        DataError: the parent does not exist, or holds nothing that fits.
    """
    return FUNCTIONS[function](key, context)


def _parent_model(key: str, context: Context) -> Choice | None:
    if context.parent is None or not context.entry.takes:
        return None
    runs = runs_of(context.parent)
    first, *others = context.entry.takes
    # A parent that holds no checkpoint hands on what else the action takes.
    instead = context.checkpoint is None and not any(map(_has_weights, runs))
    kinds = others if instead else []
    there = next((kind for kind in kinds if any(run.models(kind) for run in runs)), None)
    coming = next((kind for kind in kinds if promised(kind, runs)), first)
    return _TAKE[there or coming](key, runs, context)


def runs_of(parent: Path) -> list[RunFolder]:
    """The jobs of a results folder; where it holds none, those that it is planned for.

    Raises:
        DataError: there are neither.
    """
    try:
        return run_folders(parent)
    except DataError as error:
        planned = planned_jobs(parent)
        if planned:
            return planned
        error.hint = (
            f"{error.hint or ''} Of a job that has not run, give its plan's folder (--write)."
        )
        raise


def _parent_model_folder(key: str, context: Context) -> Choice | None:
    choice = _parent_model(key, context)
    return None if choice is None else Choice(str(Path(choice.value).parent), choice.why)


def _resume_model(key: str, context: Context) -> Choice | None:
    if not context.entry.resumes or context.parent is None:
        return None
    job = _trained(key, run_folders(context.parent), context)
    return None if job is None else _to_resume(key, job, context)


def _pretrained(key: str, context: Context) -> Choice | None:
    """Weights to start from, where the run is not resumed."""
    if context.entry.resumes or context.parent is None:
        return None
    choice = _weights(key, run_folders(context.parent), context)
    anew = "Training begins anew from these weights; to go on with that run, resume it."
    return choice and replace(choice, why=f"{choice.why} {anew}")


def _weights(key: str, runs: Sequence[RunFolder], context: Context) -> Choice | None:
    """A model to use as it is: the best, else the highest epoch; what prune or quantize made."""
    if context.checkpoint is None and not any(map(_has_weights, runs)):
        made = [*_all("quantized", runs, context), *_all("pruned", runs, context)]
        if made:
            return _only(key, made, context)
    job = _trained(key, runs, context)
    if job is None:
        return None
    best, wanted = job.files.best, context.checkpoint
    if wanted not in (None, "best"):
        return _asked_for(job, context)
    if best is not None:
        return Choice(str(best), f"the best checkpoint{_which(job)}.", job)
    if wanted == "best":
        return _full_best(key, job, context)
    return _highest(job, "there is no model_best.pth")


def _full(key: str, runs: Sequence[RunFolder], context: Context) -> Choice | None:
    """A full checkpoint: of the best epoch, else the one asked for."""
    job = _trained(key, runs, context)
    if job is None:
        return None
    if context.checkpoint in (None, "best"):
        return _full_best(key, job, context)
    return _asked_for(job, context)


def _to_resume(key: str, job: RunFolder, context: Context) -> Choice | None:
    """The checkpoint asked for, else the highest epoch."""
    if context.checkpoint == "best" or not job.files.checkpoints:
        return _full_best(key, job, context)
    if context.checkpoint is None:
        return _highest(job, "a run is resumed from its highest epoch")
    return _asked_for(job, context)


def _full_best(key: str, job: RunFolder, context: Context) -> Choice | None:
    """The best epoch's checkpoint with the optimiser's state, which TAO's model_best.pth lacks."""
    best = job.files.best
    exact = None if job.best is None else _of_epoch(job, str(job.best.epoch))
    if exact is not None:
        return Choice(str(exact), f"full, and of the best epoch{_which(job)}.", job)
    if best is not None and (job.trained or _is_full(best)):
        return Choice(str(best), f"the best checkpoint{_which(job)}, a full one.", job)
    files = job.files.checkpoints
    if not files:
        raise _nothing(key, [job], "model_epoch_<EEE>_step_<SSSSS>.pth, a full checkpoint")
    if job.best is None and len(files) == 1:
        return _highest(job, "the only full checkpoint")
    known = f"The best epoch{_which(job)} has none" if job.best else "The best epoch is not known"
    context.notes.ask(
        "--checkpoint",
        f"{key} needs a full checkpoint. {known}; {job.folder} has {_epochs(job)}. Which one?",
        key=key,
    )
    return None


def _highest(job: RunFolder, why: str) -> Choice:
    path = job.files.checkpoints[-1]
    return Choice(str(path), f"{_epoch(path)}; {why}.", job)


def _asked_for(job: RunFolder, context: Context) -> Choice:
    """The checkpoint that the user names: latest, or an epoch counted from 1."""
    wanted = str(context.checkpoint)
    latest = wanted == "latest"
    path = job.files.latest if latest else _of_epoch(job, wanted)
    if path is None:
        raise DataError(
            "no-such-checkpoint",
            f"{job.folder} has no checkpoint {wanted!r}",
            got=wanted,
            expected=f"best, latest, or an epoch counted from 1: {_epochs(job)}",
            hint="File names count epochs from 0.",
        )
    return Choice(str(path), f"{_epoch(path)}, as asked for ({wanted}).", job)


def _single(kind: Model, description: str) -> Callable[..., Choice | None]:
    """What takes the only file of a kind that the parent holds, else the one that it will hold."""

    def take(key: str, runs: Sequence[RunFolder], context: Context) -> Choice | None:
        files = _all(kind, runs, context)
        if files:
            return _only(key, files, context)
        planned = planned_jobs(context.parent) if context.parent else []
        files = _all(kind, planned, context)
        if files:
            return _only(key, files, context)
        coming = promised(kind, [*runs, *planned])
        if not coming:
            raise _nothing(key, runs, description)
        return _expected(key, coming, context)

    return take


_Found = tuple[RunFolder | None, Path]
"""A file, and the job that left it, if it is known."""


def _all(kind: Model, runs: Sequence[RunFolder], context: Context) -> list[_Found]:
    """Every file of a kind: the jobs', wherever they are, and what else lies below the parent."""
    found: list[_Found] = [(job, path) for job in runs for path in job.models(kind)]
    below = models_below(context.parent, kind) if context.parent else ()
    return [*found, *((job_in(path.parent), path) for path in below)]


def _only(key: str, files: Sequence[_Found], context: Context) -> Choice | None:
    found = _distinct(files)
    if len(found) > 1:
        which = f"There are {len(found)}: {_listed([path for _, path in found])}."
        context.notes.ask(key, f"{which} Which one is {key}?", key=key)
        return None
    job, path = found[0]
    return Choice(str(path), f"the only one below {context.parent}.", job)


def _expected(key: str, coming: Sequence[_Found], context: Context) -> Choice | None:
    """A file that a job is still to write."""
    found = _distinct(coming)
    if len(found) > 1:
        which = f"{len(found)} will be written: {_listed([path for _, path in found])}."
        context.notes.ask(key, f"{which} Which one is {key}?", key=key)
        return None
    job, path = found[0]
    maker = "its job" if job is None else f"the {job.action} job that writes to {job.folder}"
    context.notes.warn(f"{path} is not there yet: run {maker} first.", key)
    return Choice(str(path), f"what {maker} will leave.", job)


def _distinct(files: Sequence[_Found]) -> list[_Found]:
    """Each file once, by the job that is known of it."""
    distinct: dict[Path, _Found] = {}
    for job, path in files:
        distinct.setdefault(path.resolve(), (job, path))
    return list(distinct.values())


def _trained(key: str, runs: Sequence[RunFolder], context: Context) -> RunFolder | None:
    """The one job with checkpoints."""
    trained = [job for job in runs if _has_weights(job)]
    if not trained:
        raise _nothing(key, runs, _WEIGHTS)
    if len(trained) > 1:
        folders = _listed([job.folder for job in trained])
        which = f"{len(trained)} jobs have checkpoints: {folders}. Which one?"
        context.notes.ask("--parent", which, key=key)
        return None
    job, notes = trained[0], context.notes
    if job.running:
        notes.warn(f"The run in {job.folder} seems to go on still: its checkpoints change.", key)
    elif job.progress.state in ("STARTED", "RUNNING", "FAILURE") and not context.entry.resumes:
        notes.warn(f"The run in {job.folder} did not finish.", key)
    return job


def _has_weights(job: RunFolder) -> bool:
    return job.files.best is not None or bool(job.files.checkpoints)


def _of_epoch(job: RunFolder, epoch: str) -> Path | None:
    """The last checkpoint of an epoch counted from 1."""
    paths = [path for path in job.files.checkpoints if _count(path) == epoch.lstrip("0")]
    return paths[-1] if paths else None


def _is_full(path: Path) -> bool:
    """Whether a checkpoint holds the state that training goes on from; nothing is unpickled."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            with archive.open(name) as file:
                return b"optimizer_states" in file.read(_PICKLE_BYTES)
    except StopIteration:
        return False
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return False  # damaged, encrypted, or no archive


def _nothing(key: str, runs: Sequence[RunFolder], expected: str) -> DataError:
    held = [f"{job.folder} ({_listed(job.files.names) or 'no model'})" for job in runs]
    return DataError(
        "no-parent-model",
        f"No file that {key} can take is in the parent job's results",
        got=_listed(held),
        expected=expected,
        hint=f"Give the results of a job that wrote one, or set {key}.",
    )


def _which(job: RunFolder) -> str:
    best = job.best
    if best is None:
        return ""
    return f" (epoch {best.epoch} counted from 1, {best.metric} {best.value:.4g})"


def _epoch(path: Path) -> str:
    return f"epoch {_count(path)} counted from 1"


def _epochs(job: RunFolder) -> str:
    return _listed(list(dict.fromkeys(map(_count, job.files.checkpoints)))) or "none"


def _count(path: Path) -> str:
    """An epoch checkpoint's epoch, counted from 1."""
    return str((epoch_of(path) or 0) + 1)


def _listed(names: Sequence[object]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(str, names[:_SHOWN])) + more


_TAKE: dict[Model, Callable[[str, Sequence[RunFolder], Context], Choice | None]] = {
    "checkpoint": _weights,
    "full checkpoint": _full,
    "pruned": _single("pruned", "pruned_<ch_sparsity>.pth, from prune"),
    "onnx": _single("onnx", "an ONNX file, from export"),
    "engine": _single("engine", "a TensorRT engine, from gen_trt_engine"),
}

FUNCTIONS: dict[str, Callable[[str, Context], Choice | None]] = {
    "parent_model": _parent_model,
    "parent_model_folder": _parent_model_folder,
    "resume_model": _resume_model,
    "ptm_if_no_resume_model": _pretrained,
    "output_dir": lambda _, context: Choice(context.results_dir),
    "create_onnx_file": lambda _, context: _named("export/detector.onnx", context),
    "create_engine_file": lambda _, context: _named("gen_trt_engine/detector.engine", context),
    "create_cal_cache": lambda _, context: _named("gen_trt_engine/detector.cache", context),
}
"""Every function that a skill_info may name."""


def _named(path: str, context: Context) -> Choice:
    return Choice(str(Path(context.results_dir, path)))
