"""One trial: its command, what it tells while it trains, and how it counts."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from ocdnet.automl import child
from ocdnet.automl.study import BASELINE, CONTINUES, Search, counted, epochs_of
from ocdnet.errors import Exit, UserError
from ocdnet.hardware import machine_cpus
from ocdnet.ranks import SLURM_TASKS
from ocdnet.runs.files import LATEST, trial_name
from ocdnet.runs.history import Epoch
from ocdnet.runs.names import KPIS
from ocdnet.spec_keys import GPU_IDS, NUM_GPUS, RESUME, TRAIN_RESULTS
from ocdnet.tree.yaml_io import inline_yaml

_PRUNED, _BUDGET, _INTERRUPTED = "pruned", "budget", "interrupted"
_HOPELESS = frozenset({Exit.USAGE, Exit.SPEC, Exit.DATA, Exit.ENVIRONMENT})
"""Exit codes of a training that no other value of a parameter would cure."""
_LEFT_IN = "left_in"
_PATIENCE_SECONDS = 30.0
"""The data workers of a training that was killed outlive it for some seconds."""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """What runs one trial after the other.

    Attributes:
        command: what trains.
        gpu: the one GPU that its trials see; None: what is there.
        stop: set where its trial is to end.
        deadline: `time.monotonic()` at which time is up; None: never.
    """

    command: Sequence[str]
    gpu: str | None
    stop: threading.Event
    deadline: float | None

    @property
    def late(self) -> bool:
        """Whether time is up."""
        return self.deadline is not None and time.monotonic() >= self.deadline


@dataclass
class TrialRun:
    """A trial that a worker runs.

    Attributes:
        trial: whose settings are drawn.
        settings: dotted key -> value.
        search: what it belongs to.
        study: the same's.
        worker: who runs it.
        heard: epochs that the study was told of.
    """

    trial: Trial
    settings: Mapping[str, Any]
    search: Search
    study: Study
    worker: Worker
    heard: int = 0
    baseline: bool = field(init=False)
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        attributes = self.trial.user_attrs
        self.baseline = bool(attributes.get(BASELINE))
        self.folder = self.search.folder / trial_name(self.trial.number)
        left_in = attributes.get(_LEFT_IN)
        if left_in and (Path(left_in) / LATEST).exists():
            self.folder = Path(left_in)  # go on with the training that was cut off

    def run(self) -> bool:
        """Train, and tell the study how it ended; False where another process holds the folder.

        Raises:
            UserError: the first trial failed of its spec, its data or the machine.
        """
        started = time.monotonic()
        with child.held(self.folder, _PATIENCE_SECONDS) as lock:
            if lock is None:
                return False
            # Not before: a trial whose folder is known and free has lost its searcher.
            self.trial.set_user_attr("folder", str(self.folder))
            ended = child.train(
                self._command(), self.folder, lock, self._environment(), self._reason_to_stop
            )
            self.trial.set_user_attr("seconds", round(time.monotonic() - started, 1))
            self._tell(ended)
        return True

    def _command(self) -> list[str]:
        changes = dict(self.settings)
        changes |= {TRAIN_RESULTS: str(self.folder)}
        if not self.search.tree["train"].get("keep_checkpoints"):
            changes["train.keep_checkpoints"] = 1  # the trials of a search would fill the disk
        if self.worker.gpu is not None:
            changes |= {NUM_GPUS: 1, GPU_IDS: [0]}
        if (self.folder / LATEST).exists():
            changes[RESUME] = str(self.folder / LATEST)
        overrides = [f"{key}={inline_yaml(value)}" for key, value in changes.items()]
        return [*self.worker.command, "-e", str(self.search.spec_file), *overrides]

    def _environment(self) -> dict[str, str]:
        """The worker's share of the machine; in a Slurm job a trial is no task of the job's."""
        own = dict(os.environ)
        own.pop(SLURM_TASKS, None)
        if self.worker.gpu is not None:
            own["CUDA_VISIBLE_DEVICES"] = self.worker.gpu
        elif self.search.workers > 1:
            own.setdefault("OMP_NUM_THREADS", str(max(1, machine_cpus() // self.search.workers)))
        return own

    def _reason_to_stop(self, epochs: list[Epoch]) -> str:
        if self.worker.stop.is_set():
            return _INTERRUPTED
        if self.worker.late:
            return _BUDGET
        reported = self._report(epochs)
        if not epochs or epochs[-1].number >= self.search.num_epochs:
            return ""  # it is about to end by itself
        if reported and not self.baseline and self.trial.should_prune():
            return _PRUNED
        limit = self.search.epochs
        spent = limit is not None and epochs_of(counted(self.study)) >= limit
        return _BUDGET if spent else ""

    def _report(self, epochs: Sequence[Epoch]) -> bool:
        """Tell the study of the epochs that it has not heard of; whether one was measured."""
        # An epoch's loss comes a line after the epoch itself: before that it is not all there.
        whole = [epoch for epoch in epochs if "train_loss" in epoch.values]
        news = [epoch for epoch in whole if epoch.number > self.heard]
        measured = [epoch for epoch in news if self.search.metric in epoch.values]
        for epoch in measured:
            self.trial.report(epoch.values[self.search.metric], epoch.number)
        if news:
            self.heard = news[-1].number
            self.trial.set_user_attr("epochs", self.heard)
        return bool(measured)

    def _tell(self, ended: child.Ended) -> None:
        self._report(ended.epochs)
        self.trial.set_user_attr("kpis", last_values(ended.epochs))
        value = worth(ended.epochs, self.search)
        if ended.stopped == _INTERRUPTED:
            again(self.study, self.trial)
            self.study.tell(self.trial, state=TrialState.FAIL)
        elif ended.stopped:
            self.trial.set_user_attr("stopped", ended.stopped)
            self.study.tell(self.trial, state=TrialState.PRUNED)
        elif ended.error is None and value is not None:
            self.study.tell(self.trial, value)
        else:
            self._fail(ended.error or self._no_value())

    def _fail(self, error: UserError) -> None:
        self.trial.set_user_attr("error", str(error))
        hopeless = (self.baseline and error.exit_code in _HOPELESS) or error.code == "disk-full"
        if hopeless:
            again(self.study, self.trial)  # when the user has corrected it
        self.study.tell(self.trial, state=TrialState.FAIL)
        if hopeless:
            raise error

    def _no_value(self) -> UserError:
        return UserError("no-value", f"The training measured no {self.search.metric}")


def again(study: Study, trial: Trial | FrozenTrial) -> None:
    """Let whoever goes on with the search take up a trial where it ended."""
    attributes = trial.user_attrs
    handed = {CONTINUES: trial.number, _LEFT_IN: attributes.get("folder", "")}
    if attributes.get(BASELINE):
        handed[BASELINE] = True
    study.enqueue_trial(dict(trial.params), user_attrs=handed)


def worth(epochs: Sequence[Epoch], search: Search) -> float | None:
    """What a whole trial is worth: its last train_loss, or the hmean of its best checkpoint."""
    values = [epoch.values[search.metric] for epoch in epochs if search.metric in epoch.values]
    if not values:
        return None
    return max(values) if search.metric == "hmean" else values[-1]


def last_values(epochs: Sequence[Epoch]) -> dict[str, float]:
    """The latest of each kpi."""
    values: dict[str, float] = {}
    for epoch in epochs:
        values |= {name: epoch.values[name] for name in KPIS if name in epoch.values}
    return values
