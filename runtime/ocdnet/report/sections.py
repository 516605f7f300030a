"""What a page tells of one job."""

from __future__ import annotations

import heapq
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from ocdnet.catalogue import ACTIONS
from ocdnet.policy.found_nothing import found_nothing
from ocdnet.policy.next import FollowUp, follow_ups
from ocdnet.report.charts import Chart, chart
from ocdnet.report.mistakes import MistakePart, mistake_part
from ocdnet.report.pictures import Album
from ocdnet.report.search import SearchPart, search_part
from ocdnet.report.settings import Settings, settings
from ocdnet.report.tables import Gallery, Table
from ocdnet.runs.files import EXPERIMENT, STATUS
from ocdnet.runs.history import Epoch, History, history
from ocdnet.runs.jobs import TRAINING, RunFolder, total_epochs
from ocdnet.runs.names import LOSS_TERMS, SCORES
from ocdnet.runs.progress import numbers, shortened
from ocdnet.runs.records import EvaluateResult, ImageScores, PruneResult, TrainResult
from ocdnet.runs.samples import Samples, read_samples
from ocdnet.runs.searches import SearchResult

_CURVES: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("Scores on the validation images", {name: name for name in SCORES}),
    ("Training loss", {"train_loss": "total"}),
    (
        "Terms of the loss, not weighted",
        {
            "shrink_loss": "shrink map",
            "threshold_loss": "threshold map",
            "binary_loss": "binary map",
        },
    ),
    ("Learning rate", {"lr": "learning rate"}),
)
_COLUMNS = (*SCORES, "train_loss", *LOSS_TERMS, "lr")
_STATES = {
    "SUCCESS": "finished",
    "FAILURE": "failed",
    "RUNNING": "running",
    "STARTED": "started",
}
_MOST_FILES, _MOST_ROWS = 40, 20


@dataclass(frozen=True, kw_only=True)
class Section:
    """One job's part of a page; what is not known is empty.

    Attributes:
        title: the action.
        folder: where it wrote.
        state: how it stands, in a word.
        hmean: the best that it reached, as text.
        facts: what is known of it, by name.
        error: why it failed, with the remedy.
        charts: curves over the epochs.
        epochs: what each epoch measured.
        shares: of a search, each parameter, its share in the outcome as text, and in percent.
        about_shares: what the shares say.
        trials: of a search, each trial.
        mistakes: of an evaluation, why it scored what it did.
        images: of an evaluation, the images with the most mistakes.
        about_pictures: which model the galleries show.
        galleries: the worst and the best images.
        warnings: what it warned of, and what could not be read.
        settings: what it was told.
        files: what it wrote, with sizes.
        commands: what runs it again, and what may follow.
    """

    title: str
    folder: str
    state: str
    hmean: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list)
    error: str = ""
    charts: list[Chart] = field(default_factory=list)
    epochs: Table | None = None
    shares: list[tuple[str, str, float]] = field(default_factory=list)
    about_shares: str = ""
    trials: Table | None = None
    mistakes: MistakePart | None = None
    images: Table | None = None
    about_pictures: str = ""
    galleries: list[Gallery] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    settings: Settings | None = None
    files: Table | None = None
    commands: list[tuple[str, str]] = field(default_factory=list)


def section(
    job: RunFolder, root: Path, program: str, album: Album, others: Sequence[RunFolder] = ()
) -> Section:
    """The part of a page that shows a job.

    Args:
        job: one of `run_folders(root)`.
        root: the results folder that the page is of.
        program: the start of a command line, quoted for a shell.
        album: draws the pictures.
        others: all jobs of the page.
    """
    past = history(job.folder / STATUS)
    of_search = search_part(job.search) if job.search else SearchPart()
    samples = read_samples(_model_folder(job))
    scores = {**numbers(job.result, SCORES), **job.progress.kpis}
    best = job.best.value if job.best and job.best.metric == "hmean" else scores.get("hmean")
    curves = [chart(title, past.epochs, names) for title, names in _CURVES]
    result = job.result
    return Section(
        title=job.action or "unknown",
        folder=str(job.folder),
        state=state(job),
        hmean="" if best is None else f"{best:.4f}",
        facts=[*of_search.facts, *_facts(job, past)],
        error=job.progress.error or "",
        charts=[*of_search.charts, *(curve for curve in curves if curve)],
        epochs=_epochs(past.epochs, job),
        shares=of_search.shares,
        about_shares=of_search.about_shares,
        trials=Table(of_search.headers, of_search.rows) if of_search.rows else None,
        mistakes=mistake_part(result, job.folder, album)
        if isinstance(result, EvaluateResult)
        else None,
        images=_images(job),
        about_pictures=_about(samples),
        galleries=_galleries(samples, album),
        warnings=[*_doubts(job, others), *past.warnings, *job.notes, *_cut(past)],
        settings=settings(job),
        files=_files(job.folder),
        commands=list(_commands(job, root, program)),
    )


def _model_folder(job: RunFolder) -> Path:
    """Where the pictures of the job's model are: of a search in its best trial's folder."""
    best = job.files.best
    return best.resolve().parent if job.search and best else job.folder


def state(job: RunFolder) -> str:
    """How a job stands, in a word or a few."""
    if job.perhaps_killed:
        return "silent, perhaps killed"
    if job.progress.interrupted:
        return "interrupted"
    return _STATES.get(job.progress.state or "", "unknown")


def _facts(job: RunFolder, past: History) -> Iterator[tuple[str, str]]:
    progress, total = job.progress, total_epochs(job) if job.action in TRAINING else None
    if job.best and not job.best.found_text:
        yield f"best {job.best.metric}", "none: no epoch found text"
    elif job.best:
        yield f"best {job.best.metric}", f"{job.best.value:.4f} in epoch {job.best.epoch}"
    elif job.action not in TRAINING:
        yield from ((name, f"{value:.4f}") for name, value in numbers(job.result, SCORES).items())
    if isinstance(job.result, EvaluateResult):
        counts = job.result.counts
        yield (
            "found",
            f"{counts.matched} of {counts.gt_care} texts, in {counts.det_care} detections",
        )
    if total:
        yield "epochs", f"{progress.epoch or 0} of {total}"
    seconds = [epoch.seconds for epoch in past.epochs if epoch.seconds is not None]
    if seconds:
        yield (
            "time",
            f"{_duration(sum(seconds))}, {_duration(sum(seconds) / len(seconds))} an epoch",
        )
    if past.started:
        yield "ran", f"{past.started} – {past.ended}"  # noqa: RUF001 - a span
    yield from _model_facts(job)


def _model_facts(job: RunFolder) -> Iterator[tuple[str, str]]:
    """The model that was made or scored, and on how many images by which thresholds."""
    result = job.result
    if isinstance(result, EvaluateResult):
        yield "images", str(result.images)
    if isinstance(result, EvaluateResult | PruneResult):
        yield "checkpoint", shortened(result.checkpoint)
    if isinstance(result, TrainResult | SearchResult) and result.best_checkpoint:
        name = "checkpoint" if job.hmean == 0 else "best checkpoint"
        yield name, shortened(result.best_checkpoint)
    if isinstance(result, EvaluateResult):
        given = result.thresholds
        yield "thresholds", f"thresh {given.thresh:g}, box_thresh {given.box_thresh:g}"


def _epochs(epochs: Sequence[Epoch], job: RunFolder) -> Table | None:
    names = [name for name in _COLUMNS if any(name in epoch.values for epoch in epochs)]
    if not names:
        return None
    best = job.best.epoch if job.best and job.best.found_text else None
    rows = [
        [
            f"{epoch.number}{' (best)' if epoch.number == best else ''}",
            *(_value(epoch.values.get(name), name in SCORES) for name in names),
            "" if epoch.seconds is None else _duration(epoch.seconds),
        ]
        for epoch in epochs
    ]
    return Table(["epoch", *(name.replace("_", " ") for name in names), "time"], rows)


def _value(value: float | None, score: bool) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if score else f"{value:.4g}"


def _images(job: RunFolder) -> Table | None:
    """The images with the most mistakes, of those that an evaluation tells of."""
    rows = job.result.per_image if isinstance(job.result, EvaluateResult) else None
    if not rows:
        return None
    worst = heapq.nsmallest(_MOST_ROWS, rows, key=lambda row: (-_mistakes(row), row.hmean))
    headers = ["image", "mistakes", *SCORES, "found", "texts", "detections"]
    return Table(headers, [_image_row(row) for row in worst if _mistakes(row)])


def _mistakes(row: ImageScores) -> int:
    return row.gt_care + row.det_care - 2 * row.matched


def _image_row(row: ImageScores) -> list[str]:
    scores = (_value(value, True) for value in (row.hmean, row.precision, row.recall))
    counts = map(str, (row.matched, row.gt_care, row.det_care))
    return [shortened(row.image), str(_mistakes(row)), *scores, *counts]


def _about(samples: Samples | None) -> str:
    if samples is None:
        return ""
    when = "" if samples.epoch is None else f" of epoch {samples.epoch + 1}"
    return f"The model{when}, hmean {samples.hmean:.4f} on {samples.images} images."


def _galleries(samples: Samples | None, album: Album) -> list[Gallery]:
    if samples is None:
        return []
    kinds = (("Most mistakes", samples.worst), ("Best images", samples.best))
    return [Gallery(title, album.pictures(shown)) for title, shown in kinds if shown]


def _doubts(job: RunFolder, others: Sequence[RunFolder]) -> list[str]:
    doubt = "" if job.running else found_nothing(job, others)
    return [doubt] if doubt else []


def _cut(past: History) -> list[str]:
    return [] if past.whole else [f"{STATUS} is large: epochs in its middle are not shown."]


def _files(folder: Path) -> Table | None:
    """The folder's files by name, links as what they are, with sizes."""
    rows: list[list[str]] = []
    more = 0
    try:
        with os.scandir(folder) as entries:
            # The checkpoints, of which there may be many, at the end.
            ordered = sorted(entries, key=lambda e: (e.name.startswith("model_epoch_"), e.name))
            for entry in ordered:
                if entry.name.startswith(".") or len(rows) >= _MOST_FILES:
                    more += not entry.name.startswith(".")
                    continue
                rows.append([entry.name, _size(entry)])
    except OSError:
        return None
    rows += [[f"and {more} more", ""]] if more else []
    return Table(["file", "size"], rows) if rows else None


def _size(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return f"link to {shortened(os.readlink(entry.path))}"  # noqa: PTH115 - an entry's path
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    size = float(entry.stat(follow_symlinks=False).st_size)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"


def _commands(job: RunFolder, root: Path, program: str) -> Iterator[tuple[str, str]]:
    """What each is for, and the line for a shell."""
    action = ACTIONS.get(job.action or "")
    if action is not None and job.experiment and action.page:
        spec = shlex.quote(str(job.folder / EXPERIMENT))
        anew = f"{action.section}.results_dir=NEW_FOLDER"
        yield "The same again", f"{program} {action.section} -e {spec} {anew}"
    for following in follow_ups(job, root, program):
        yield _purpose(following), following.command
    if (job.folder / "lightning_logs").is_dir():
        logs = shlex.quote(str(job.folder / "lightning_logs"))
        yield "Curves and pictures of every validation", f"tensorboard --logdir {logs}"


def _purpose(following: FollowUp) -> str:
    needs = f" (add {', '.join(following.needs)})" if following.needs else ""
    return f"Next: {following.action}{needs}"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
