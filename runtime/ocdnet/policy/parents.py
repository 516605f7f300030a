"""What a job takes from the one before it: the functions that skill_info's spec_params name."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ocdnet.errors import DataError
from ocdnet.notes import Notes
from ocdnet.runs.files import epoch_of
from ocdnet.runs.jobs import RunFolder, run_folders

_SHOWN = 10
_WEIGHTS = "model_best.pth or model_epoch_<EEE>_step_<SSSSS>.pth"
_PICKLE_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True)
class Context:
    """What is known where a value is to be inferred.

    Attributes:
        action: the planned action, "resume" included.
        parent: results folder of the earlier job, None where none was given.
        results_dir: the planned job's.
        notes: told what was chosen and why, and asked where there is more than one.
        checkpoint: "best", "latest", or an epoch counted from 1; None for what the action takes by
            itself.
        backend: quantize.backend.
        pretrained: model.pretrained_model_path as given.
    """

    action: str
    parent: Path | None
    results_dir: str
    notes: Notes
    checkpoint: str | None = None
    backend: str = ""
    pretrained: str = ""


def resolve(function: str, key: str, context: Context) -> str | None:
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


def _parent_model(key: str, context: Context) -> str | None:
    take = _TAKES.get(context.action)
    if take is None or context.parent is None:
        return None
    path = take(key, run_folders(context.parent), context)
    return None if path is None else str(path)


def _parent_model_folder(key: str, context: Context) -> str | None:
    path = _parent_model(key, context)
    return None if path is None else str(Path(path).parent)


def _resume_model(key: str, context: Context) -> str | None:
    if context.action != "resume" or context.parent is None:
        return None
    job = _trained(key, run_folders(context.parent), context)
    path = None if job is None else _to_resume(key, job, context)
    return None if path is None else str(path)


def _pretrained(key: str, context: Context) -> str | None:
    """Weights to start from, where the run is not resumed."""
    if context.action == "resume":
        return None
    if context.pretrained:
        if context.parent is not None and context.action == "train":
            context.notes.warn(f"{key} is given: the parent {context.parent} is not used.")
        return context.pretrained
    if context.parent is None or context.action != "train":
        return None
    path = _weights(key, run_folders(context.parent), context)
    context.notes.because(
        f"Training begins anew from the weights of {context.parent}; to go on with that run, "
        "ask to resume it."
    )
    return None if path is None else str(path)


def _weights(key: str, found: Sequence[RunFolder], context: Context) -> Path | None:
    """A model to use as it is: the best, else the highest epoch; what prune or quantize made."""
    if context.checkpoint is None and not any(map(_has_weights, found)):
        made = [p for job in found for p in (*job.files.quantized, *job.files.pruned)]
        if made:
            return _only(key, found, made, _WEIGHTS, context)
    job = _trained(key, found, context)
    if job is None:
        return None
    best, wanted = job.files.best, context.checkpoint
    if wanted not in (None, "best"):
        return _asked_for(key, job, context)
    if best is not None:
        context.notes.because(f"{key} is {best}: the best checkpoint{_which(job)}.")
        return best
    if wanted == "best":
        return _full_best(key, job, context)
    return _highest(key, job, context, "there is no model_best.pth")


def _evaluable(key: str, found: Sequence[RunFolder], context: Context) -> Path | None:
    """As `_weights`; of a parent that holds no checkpoint, its ONNX."""
    only_onnx = any(job.onnx for job in found) and not any(map(_has_weights, found))
    take = _onnx if only_onnx and context.checkpoint is None else _weights
    return take(key, found, context)


def _quantizable(key: str, found: Sequence[RunFolder], context: Context) -> Path | None:
    """An ONNX for modelopt.onnx; for the torch backends a full checkpoint."""
    if context.backend == "modelopt.onnx":
        return _onnx(key, found, context)
    job = _trained(key, found, context)
    if job is None:
        return None
    if context.checkpoint in (None, "best"):
        return _full_best(key, job, context)
    return _asked_for(key, job, context)


def _to_resume(key: str, job: RunFolder, context: Context) -> Path | None:
    """The checkpoint asked for, else the highest epoch."""
    if context.checkpoint == "best" or not job.files.checkpoints:
        return _full_best(key, job, context)
    if context.checkpoint is None:
        return _highest(key, job, context, "a run is resumed from its highest epoch")
    return _asked_for(key, job, context)


def _full_best(key: str, job: RunFolder, context: Context) -> Path | None:
    """The best epoch's checkpoint with the optimiser's state, which TAO's model_best.pth lacks."""
    best = job.files.best
    exact = None if job.best is None else _of_epoch(job, str(job.best.epoch))
    if exact is not None:
        context.notes.because(f"{key} is {exact}: full, and of the best epoch{_which(job)}.")
        return exact
    if best is not None and (job.ours or _is_full(best)):
        context.notes.because(f"{key} is {best}: the best checkpoint{_which(job)}, a full one.")
        return best
    files = job.files.checkpoints
    if not files:
        raise _nothing(key, [job], "model_epoch_<EEE>_step_<SSSSS>.pth, a full checkpoint")
    if job.best is None and len(files) == 1:
        return _highest(key, job, context, "the only full checkpoint")
    known = f"The best epoch{_which(job)} has none" if job.best else "The best epoch is not known"
    context.notes.ask(
        "--checkpoint",
        f"{key} needs a full checkpoint. {known}; {job.folder} has {_epochs(job)}. Which one?",
        key=key,
    )
    return None


def _highest(key: str, job: RunFolder, context: Context, why: str) -> Path:
    path = job.files.checkpoints[-1]
    context.notes.because(f"{key} is {path}: {_epoch(path)}; {why}.")
    return path


def _asked_for(key: str, job: RunFolder, context: Context) -> Path:
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
    context.notes.because(f"{key} is {path}: {_epoch(path)}, as asked for ({wanted}).")
    return path


def _pruned(key: str, found: Sequence[RunFolder], context: Context) -> Path | None:
    paths = [path for job in found for path in job.files.pruned]
    return _only(key, found, paths, "pruned_<ch_sparsity>.pth, from prune", context)


def _onnx(key: str, found: Sequence[RunFolder], context: Context) -> Path | None:
    paths = [path for job in found for path in job.onnx]
    return _only(key, found, paths, "an ONNX file, from export", context)


def _engine(key: str, found: Sequence[RunFolder], context: Context) -> Path | None:
    paths = [path for job in found for path in job.engines]
    return _only(key, found, paths, "a TensorRT engine, from gen_trt_engine", context)


def _only(
    key: str, found: Sequence[RunFolder], paths: Sequence[Path], what: str, context: Context
) -> Path | None:
    paths = list({path.resolve(): path for path in paths}.values())
    if not paths:
        raise _nothing(key, found, what)
    if len(paths) > 1:
        which = f"There are {len(paths)}: {_listed(paths)}. Which one is {key}?"
        context.notes.ask(key, which, key=key)
        return None
    context.notes.because(f"{key} is {paths[0]}: the only one below {context.parent}.")
    return paths[0]


def _trained(key: str, found: Sequence[RunFolder], context: Context) -> RunFolder | None:
    """The one job with checkpoints."""
    trained = [job for job in found if _has_weights(job)]
    if not trained:
        raise _nothing(key, found, _WEIGHTS)
    if len(trained) > 1:
        folders = _listed([job.folder for job in trained])
        which = f"{len(trained)} jobs have checkpoints: {folders}. Which one?"
        context.notes.ask("--parent", which, key=key)
        return None
    job = trained[0]
    if job.running:
        context.notes.warn(f"The run in {job.folder} seems to go on still: its checkpoints change.")
    elif job.progress.state in ("STARTED", "RUNNING", "FAILURE") and context.action != "resume":
        context.notes.warn(f"The run in {job.folder} did not finish.")
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


def _nothing(key: str, found: Sequence[RunFolder], what: str) -> DataError:
    held = [f"{job.folder} ({_listed(job.files.names) or 'no model'})" for job in found]
    return DataError(
        "no-parent-model",
        f"No file that {key} can take is in the parent job's results",
        got=_listed(held),
        expected=what,
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


_TAKES: dict[str, Callable[[str, Sequence[RunFolder], Context], Path | None]] = {
    "evaluate": _evaluable,
    "inference": _evaluable,
    "export": _weights,
    "prune": _weights,
    "quantize": _quantizable,
    "retrain": _pruned,
    "gen_trt_engine": _onnx,
    "deploy_evaluate": _engine,
    "deploy_inference": _engine,
}

FUNCTIONS: dict[str, Callable[[str, Context], str | None]] = {
    "parent_model": _parent_model,
    "parent_model_folder": _parent_model_folder,
    "resume_model": _resume_model,
    "ptm_if_no_resume_model": _pretrained,
    "output_dir": lambda _, context: context.results_dir,
    "create_onnx_file": lambda _, context: str(Path(context.results_dir, "export/detector.onnx")),
    "create_engine_file": lambda _, context: _engine_file(context, ".engine"),
    "create_cal_cache": lambda _, context: _engine_file(context, ".cache"),
}
"""Every function that a skill_info may name."""


def _engine_file(context: Context, suffix: str) -> str:
    return str(Path(context.results_dir, "gen_trt_engine", f"detector{suffix}"))
