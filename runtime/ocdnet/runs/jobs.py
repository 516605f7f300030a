"""The jobs of a results folder, whoever wrote it: state, progress, files."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from ocdnet.catalogue import ACTIONS, RUNS, SEARCH
from ocdnet.catalogue_entry import Model
from ocdnet.errors import DataError, UserError
from ocdnet.runs.files import (
    EXPERIMENT,
    RESULTS,
    STATUS,
    TRIALS,
    RunFiles,
    files_in,
    is_file,
    onnx_beside,
)
from ocdnet.runs.progress import Best, Progress, progress
from ocdnet.runs.status import StatusLines, read_status
from ocdnet.spec_keys import SHARDS
from ocdnet.tree import keys

if TYPE_CHECKING:
    from ocdnet.runs.records import Results, TrainResult
    from ocdnet.runs.searches import SearchResult

TRAINING = tuple(name for name, entry in ACTIONS.items() if entry.trains)
"""Names of the actions that train."""
LEAST_SILENCE = 600.0
"""Seconds without a line before a run may be taken for killed."""
SECTIONS = frozenset(entry.section for entry in RUNS.values())
"""Names of the folders that jobs write to."""
_MOST_ENTRIES, _MOST_FOLDERS = 100_000, 1000
_UNKNOWN = f"an action's own folder with {STATUS}, {EXPERIMENT} or a model in it"


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """One action's folder.

    Attributes:
        folder: where it wrote.
        action: what it did, None where nothing tells.
        progress: what its status.json says.
        files: its files.
        result: its results.json, None where there is none that can be read.
        trial: of a search, its trial that told last.
        silent_for: seconds since its status.json changed, None without one.
        notes: what could not be read.
        spec: of a job that was planned and not begun, its spec.
    """

    folder: Path
    action: str | None
    progress: Progress
    files: RunFiles
    result: Results | None = None
    trial: Progress | None = None
    silent_for: float | None = None
    notes: tuple[str, ...] = ()
    spec: Path | None = None

    @property
    def search(self) -> SearchResult | None:
        """Of a search, what it came to so far."""
        ours = self.result is not None and self.result.action == SEARCH
        return cast("SearchResult", self.result) if ours else None

    @property
    def trained(self) -> TrainResult | None:
        """Of a finished training of ours, what it came to."""
        ours = self.result is not None and self.result.action in TRAINING
        return cast("TrainResult", self.result) if ours else None

    @property
    def best(self) -> Best | None:
        """The best epoch of the finished run, or of the one that went on and got further."""
        result, later = self.trained, self.progress.best
        if result is None or result.best_metric.value is None:
            return later
        best = Best(result.best_epoch + 1, result.best_metric.name, result.best_metric.value)
        if later is None or later.metric != best.metric or later.value < best.value:
            return best
        # Of equal ones: it is model_best.pth's only if it came after results.json was written.
        further = later.value > best.value or later.epoch > result.epochs
        return later if further else best

    @property
    def hmean(self) -> float | None:
        """The highest hmean of the model that it made or scored; None where nobody looked.

        Of a job that changes a model, that of the model it was given.
        """
        if self.search is not None:
            trial, by_hmean = self.search.best, self.search.metric == "hmean"
            return None if trial is None else trial.value if by_hmean else trial.hmean
        if self.action in TRAINING:
            return self.best.value if self.best and self.best.metric == "hmean" else None
        if self.action not in RUNS or RUNS[self.action].makes:
            before = getattr(self.result, "before", None)
            return None if before is None else cast("float | None", before.hmean)
        return self.progress.kpis.get("hmean", getattr(self.result, "hmean", None))

    @property
    def unfinished(self) -> bool:
        """Whether it was started and has not told its end."""
        return self.progress.state in ("STARTED", "RUNNING")

    @property
    def perhaps_killed(self) -> bool:
        """Whether it is unfinished and silent for over ten minutes and three epochs."""
        pace = (self.trial or self.progress).seconds_per_epoch or 0
        longest = max(LEAST_SILENCE, 3 * pace)
        return self.unfinished and (self.silent_for or 0) > longest

    @property
    def one_size(self) -> bool:
        """Whether its model takes images of one size alone."""
        entry = RUNS.get(self.action or "")
        return entry is not None and entry.one_size

    @property
    def running(self) -> bool:
        """Whether it seems to be at work."""
        return self.unfinished and not self.perhaps_killed

    @cached_property
    def experiment(self) -> dict[str, Any]:
        """Its experiment.yaml, or its spec if it was not begun; empty where none can be read."""
        from ocdnet.tree import yaml_io  # noqa: PLC0415 - ruamel is slow, and seldom needed

        try:
            return yaml_io.read(self.spec or self.folder / EXPERIMENT)
        except UserError:
            return {}

    def models(self, kind: Model) -> tuple[Path, ...]:
        """Its models of a kind: those in its folder, and the one that it wrote elsewhere."""
        inside = self.files.models(kind)
        entry = RUNS.get(self.action or "")
        output = next((o for o in entry.outputs if o.model == kind), None) if entry else None
        if output is None:
            return inside
        path = keys.get(self.experiment, output.key)
        beside = keys.get(self.experiment, output.beside) if output.beside else None
        if not path and isinstance(beside, str):
            path = onnx_beside(beside)
        if not isinstance(path, str) or not path or not is_file(Path(path)):
            return inside
        known = any(other.resolve() == Path(path).resolve() for other in inside)
        return inside if known else (*inside, Path(path))

    def section(self, name: str) -> Mapping[str, Any]:
        """A section of its experiment, empty where there is none."""
        section = self.experiment.get(name)
        return section if isinstance(section, Mapping) else {}


def run_folders(root: Path) -> list[RunFolder]:
    """The jobs in a folder or one level below it: by action, those that told last first.

    Args:
        root: a results folder, or an action's own folder.

    Raises:
        DataError: it does not exist, is no folder, can't be read, or holds no job.
    """
    root = named(root)
    entries = _listed(root)
    folders = [root, *(Path(entry) for entry in entries if _is_folder(entry))]
    seen: set[tuple[int, int]] = set()
    jobs: list[RunFolder] = []
    for folder in folders[:_MOST_FOLDERS]:
        identity = _identity(folder)
        if identity is not None and identity not in seen:  # a link may lead here again
            seen.add(identity)
            job = _job(folder)
            jobs += [] if job is None else [job]
    if len(jobs) > 1 and jobs[0].folder == root and jobs[0].progress.state is None:
        del jobs[0]  # files that the jobs below wrote beside their folders
    if jobs and jobs[0].folder == root and jobs[0].action == SEARCH:
        del jobs[1:]  # its trials, of which it tells
    if not jobs:
        parts = next((str(path) for folder in folders if (path := folder / SHARDS).is_dir()), None)
        raise DataError(
            "no-job",
            f"No job of this skill is in {root}",
            got=[entry.name for entry in entries[:5]] or "an empty folder",
            expected=f"{_UNKNOWN}, here or one level below",
            hint=f"An inference in parts is one job when it is merged; of its parts tells {parts}."
            if parts
            else "Give the results_dir of a run, or the folder of one of its actions.",
        )
    order = [*RUNS, None]
    return sorted(jobs, key=lambda job: (order.index(job.action), job.silent_for or 0))


def job_in(folder: Path) -> RunFolder | None:
    """The job that wrote a folder; None where there is none, or nothing in it is a job's."""
    try:
        return _job(folder) if folder.is_dir() else None
    except (OSError, ValueError):  # a path of an untrusted file
        return None


def same_folder(one: Path, other: Path) -> bool:
    """Whether two paths mean one folder, which need not be there."""
    try:
        return one.resolve() == other.resolve()
    except (OSError, ValueError, RuntimeError):
        return False


def named(folder: Path) -> Path:
    """The folder by a path that ends in its name, which `.` and `..` do not."""
    if folder.name not in ("", ".."):
        return folder
    return Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() follows links


def total_epochs(job: RunFolder) -> int | None:
    """Epochs that a training job was to have in all; None where nothing tells."""
    epochs = job.section("train").get("num_epochs")
    known = isinstance(epochs, int) and not isinstance(epochs, bool) and epochs > 0
    return epochs if known else job.progress.epochs


def _listed(root: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(root) as entries:
            return sorted(islice(entries, _MOST_ENTRIES), key=lambda entry: entry.name)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise DataError(
            "no-such-folder" if missing else "unreadable-folder",
            f"There is no folder {root}" if missing else f"Cannot read {root}: {error.strerror}",
            expected="a results folder",
            hint="Give the results_dir of a run, or the folder of one of its actions.",
        ) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        info = folder.stat()
    except OSError:
        return None
    return info.st_dev, info.st_ino


def _job(folder: Path) -> RunFolder | None:
    """The job that wrote a folder, None where nothing in it is a job's."""
    notes: list[str] = []
    status = _status(folder / STATUS, notes)
    seen = progress(status)
    named = folder.name if folder.name in SECTIONS else None
    try:
        entry = RUNS.get(seen.action or named or "")
        # An artifact's path is the user's: it may lie deeper in the folder.
        files = files_in(folder, below=entry is not None and entry.one_size)
    except OSError as error:
        files = RunFiles()
        notes.append(f"{folder} cannot be listed: {error.strerror}.")
    started = named and is_file(folder / EXPERIMENT)  # default_specs writes one beside the jobs
    if seen.state is None and not files.names and not started:
        return None
    result = _result(folder / RESULTS, notes)
    trial = _latest_trial(folder, notes) if seen.action == SEARCH else None
    changed = max(status.changed, trial.changed if trial else 0.0)
    return RunFolder(
        folder=folder,
        action=seen.action or named or _by_files(files),
        progress=seen,
        files=files,
        result=result,
        trial=progress(trial) if trial else None,
        silent_for=max(0.0, time.time() - changed) if changed else None,
        notes=tuple(notes),
    )


def _latest_trial(folder: Path, notes: list[str]) -> StatusLines | None:
    """The status of the trial of a search that told last; None before the first."""
    statuses = [
        status
        for path in islice(folder.glob(f"{TRIALS}/{STATUS}"), _MOST_FOLDERS)
        if (status := _status(path, notes)).lines
    ]
    return max(statuses, key=lambda status: status.changed, default=None)


def _status(path: Path, notes: list[str]) -> StatusLines:
    try:
        status = read_status(path)
    except FileNotFoundError:
        return StatusLines([], whole=True, changed=0)
    except OSError as error:
        notes.append(f"{path} cannot be read: {error.strerror}.")
        return StatusLines([], whole=True, changed=0)
    if not status.lines:
        notes.append(f"{path} holds no line that can be read.")
    elif not status.whole:
        notes.append(f"{path} is large: its first and last lines were read.")
    return status


def _result(path: Path, notes: list[str]) -> Results | None:
    if not is_file(path):
        return None
    try:
        # A dozen records that a folder without results needs not.
        from ocdnet.runs.records import read_results  # noqa: PLC0415

        return read_results(path, notes)
    except DataError as error:
        notes.append(str(error))
        return None


def _by_files(files: RunFiles) -> str | None:
    """The action that leaves such files: an engine's folder may hold its ONNX, too."""
    for kind in get_args(Model):
        makers = [entry.name for entry in ACTIONS.values() if entry.makes == kind]
        if makers and files.models(kind):
            return makers[0]
    return None
