"""The runs that a comparison is of: which jobs of each, and what keeps them from comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ocdnet.errors import UsageError
from ocdnet.report.sections import state
from ocdnet.runs.jobs import TRAINING, RunFolder, run_folders, same_folder
from ocdnet.runs.printed_report import EvaluationCompared, RunCompared, TrainingCompared
from ocdnet.runs.records import EvaluateResult

MOST_RUNS = 6
"""As many lines of a chart can be told apart."""


@dataclass(frozen=True)
class Run:
    """One of the runs.

    Attributes:
        name: A, B, C ...
        root: the folder as it was given.
        jobs: of each action the job that told last.
        training: its training, None without one.
        evaluation: its evaluation, None without one that came to an end.
    """

    name: str
    root: Path
    jobs: dict[str, RunFolder]
    training: RunFolder | None
    evaluation: RunFolder | None

    @property
    def scored(self) -> EvaluateResult | None:
        """What the evaluation came to."""
        result = self.evaluation.result if self.evaluation else None
        return result if isinstance(result, EvaluateResult) else None


def runs_of(roots: Sequence[Path], notes: list[str]) -> list[Run]:
    """The runs in some folders; what is not compared goes to the notes.

    Raises:
        DataError: one is no folder, can't be read, or holds no job.
        UsageError: they are too many, or one is given twice.
    """
    if len(roots) > MOST_RUNS:
        raise UsageError(
            "too-many-runs",
            f"{len(roots)} runs are too many for one page",
            got=len(roots),
            expected=f"2 to {MOST_RUNS}",
            hint=f"Give the first {MOST_RUNS}, then the first and those that are left.",
        )
    found = [_run(name, root, notes) for name, root in zip("ABCDEF", roots, strict=False)]
    for number, run in enumerate(found):
        for other in found[:number]:
            _refuse_same(other, run)
    return found


def in_brief(run: Run) -> RunCompared:
    """A run as it is printed."""
    return RunCompared(
        name=run.name,
        folder=str(run.root),
        training=None if run.training is None else _training(run.training),
        evaluation=None
        if run.evaluation is None or run.scored is None
        else _evaluation(run.evaluation.folder, run.scored),
    )


def _training(job: RunFolder) -> TrainingCompared:
    best = job.best if job.best and job.best.metric == "hmean" and job.best.found_text else None
    return TrainingCompared(
        folder=str(job.folder),
        state=state(job),
        epochs=job.progress.epoch,
        best_hmean=None if best is None else best.value,
        best_epoch=None if best is None else best.epoch,
    )


def _evaluation(folder: Path, result: EvaluateResult) -> EvaluationCompared:
    return EvaluationCompared(
        folder=str(folder),
        hmean=result.hmean,
        precision=result.precision,
        recall=result.recall,
        images=result.images,
        checkpoint=result.checkpoint,
        thresholds=result.thresholds,
        backend=result.backend,
        resize=result.resize,
    )


def _run(name: str, root: Path, notes: list[str]) -> Run:
    found = run_folders(root)
    jobs: dict[str, RunFolder] = {}
    for job in found:
        jobs.setdefault(job.action or "unknown", job)
    trainings = [job for job in found if job.action in TRAINING]
    evaluations = [job for job in found if isinstance(job.result, EvaluateResult)]
    notes += [
        f"{name} ({root}) holds {len(several)} {what}: the one that told last, in "
        f"{several[0].folder}, is compared."
        for several, what in ((trainings, "trainings"), (evaluations, "evaluations"))
        if len(several) > 1
    ]
    if not evaluations:
        notes.append(f"{name} ({root}) holds no finished evaluation: its scores are not compared.")
    run = Run(name, root, jobs, next(iter(trainings), None), next(iter(evaluations), None))
    notes += _ends(run)
    return run


def _ends(run: Run) -> Iterator[str]:
    """Jobs that did not finish: what they left may be of a part."""
    for job in (run.training, run.evaluation):
        if job is not None and (how := state(job)) not in ("finished", "unknown"):
            yield f"{run.name}'s {job.action} in {job.folder} is not finished: {how}."


def _refuse_same(one: Run, other: Run) -> None:
    shared = [
        job.folder
        for job in other.jobs.values()
        if any(same_folder(job.folder, own.folder) for own in one.jobs.values())
    ]
    if shared or same_folder(one.root, other.root):
        raise UsageError(
            "same-run",
            f"{one.root} and {other.root} hold the same job",
            got=str(shared[0] if shared else other.root),
            expected="folders of different runs",
            hint=f"Leave {other.root} out, or give another run in its place.",
        )
