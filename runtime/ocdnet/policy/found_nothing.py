"""What to say of a model that was scored and found no text, before anything is made of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ocdnet.catalogue import RUNS, SEARCH
from ocdnet.runs.jobs import TRAINING, RunFolder, job_in, same_folder
from ocdnet.spec_keys import NUM_EPOCHS
from ocdnet.tree import keys

_MOST_STEPS = 5
_LONGER = (
    f"Train longer before anything is made of it: resume that training with a higher {NUM_EPOCHS}, "
    "the total; from random weights hundreds of steps are needed."
)


def found_nothing(job: RunFolder, others: Sequence[RunFolder] = ()) -> str:
    """What it means that a job's model found nothing, and what to do.

    Empty where it found something, or nobody looked.

    Args:
        job: what made, scored or changed the model. Where it did not score it, the jobs before it
            tell: an export's training, for example.
        others: jobs beside it; of a model that was not validated in training, they may hold
            evaluations.
    """
    for origin in _origins(job):
        if origin.hmean is not None:
            return _sentence(origin) if origin.hmean == 0 else ""
        scored = [other for other in others if _scores(other, origin)]
        if scored and not any(other.hmean for other in scored):
            return _sentence(scored[0])
    return ""


def _sentence(job: RunFolder) -> str:
    if job.action == SEARCH:
        return (
            f"The search in {job.folder} found nothing: the best trial's hmean is 0, no text of "
            "the validation images was found. Train its settings longer, with a higher "
            f"{NUM_EPOCHS}."
        )
    if job.action in TRAINING:
        return (
            f"The training in {job.folder} found nothing: its best hmean is 0, no text of the "
            f"validation images was found. {_LONGER}"
        )
    return (
        f"{_model_of(job) or 'The model'} found nothing when it was scored in {job.folder}: its "
        f"hmean is 0, no text of these images was found. {_LONGER} If that training had found "
        "text, compare the size of the images and the thresholds with the training's."
    )


def _origins(job: RunFolder) -> Iterator[RunFolder]:
    """The job, and those that its model comes from up to its training."""
    current: RunFolder | None = job
    for _ in range(_MOST_STEPS):
        if current is None:
            return
        yield current
        model = _model_of(current)
        if model is None or current.action in (*TRAINING, SEARCH):
            return
        current = job_in(model.parent)


def _scores(job: RunFolder, origin: RunFolder) -> bool:
    """Whether a job is an evaluation of another one's model."""
    model = _model_of(job)
    entry = RUNS.get(job.action or "")
    is_evaluation = entry is not None and entry.makes is None and job.hmean is not None
    return is_evaluation and model is not None and same_folder(model.parent, origin.folder)


def _model_of(job: RunFolder) -> Path | None:
    """The model that a job was given, as its spec names it."""
    entry = RUNS.get(job.action or "")
    path = keys.get(job.experiment, entry.model) if entry is not None and entry.model else None
    return Path(path) if isinstance(path, str) and path not in ("", "???") else None
