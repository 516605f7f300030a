"""The search itself: workers that take trials until the budget is spent."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from ocdnet.automl import child
from ocdnet.automl.record import Recorder
from ocdnet.automl.study import (
    BASELINE,
    CONTINUES,
    DONE,
    SURPLUS,
    Search,
    counted,
    epochs_of,
    open_study,
    storage_fault,
)
from ocdnet.automl.trial import TrialRun, Worker, again, worth
from ocdnet.catalogue import SEARCH
from ocdnet.config import spec
from ocdnet.errors import RunError, UserError
from ocdnet.files import write_text
from ocdnet.runs.files import STATUS
from ocdnet.runs.searches import SearchResult, TrialStates
from ocdnet.runs.status import STARTING, StatusWriter
from ocdnet.spec_keys import masked
from ocdnet.tree import keys

LOG = logging.getLogger("ocdnet")
_MOST_FAILURES, _MOST_REPEATS = 3, 20
_UNHOUSED_SECONDS = 60.0
"""A trial has its folder this long after it was drawn, or its searcher is dead."""


def run(
    search: Search, gpus: Sequence[str] = (), command: Sequence[str] = child.TRAIN
) -> SearchResult:
    """Search until the budget is spent; a search that was killed goes on where it was.

    Args:
        search: what is searched.
        gpus: for each worker, the GPU that its trials see; none: what is there.
        command: what trains.

    Returns:
        What results.json holds, without the trials.

    Raises:
        UserError: the first trial fails of its spec, its data or the machine; all trials fail;
            none ends within the budget.
    """
    study = open_study(search)
    write_text(search.spec_file, spec.to_yaml(masked(search.tree)))
    status = StatusWriter(search.folder / STATUS)
    status.write("STARTED", f"{STARTING} {SEARCH}.")
    recorder = Recorder(search, study, status)
    try:
        _Searcher(search, study, recorder, gpus, command).work()
        result = recorder.write()
        if result.best is None and not result.states.running:
            raise _nothing_found(result.states)
    except BaseException as error:
        fault = storage_fault(error, search)
        if fault is None:
            recorder.write()
        interrupted = isinstance(error, KeyboardInterrupt)
        status.write("FAILURE", "interrupted" if interrupted else str(fault or error))
        if fault is None:
            raise
        raise fault from error
    elsewhere = result.states.running
    if elsewhere:  # whose searcher will say SUCCESS, perhaps at this moment
        LOG.info("The budget is spent; trials that run elsewhere: %d.", elsewhere)
    else:
        status.write("SUCCESS", f"{SEARCH} finished successfully.")
    return replace(result, trials=None)


def _nothing_found(states: TrialStates) -> UserError:
    return RunError(
        "no-trial-finished",
        "No trial was trained to its end",
        got=", ".join(f"{count} {state}" for state, count in states.counts.items()) or "no trial",
        expected="at least one within the budget",
        hint="Run the same command again with a larger budget: it goes on.",
    )


class _Searcher:
    """The workers of one process."""

    def __init__(
        self,
        search: Search,
        study: Study,
        recorder: Recorder,
        gpus: Sequence[str],
        command: Sequence[str],
    ) -> None:
        self.search, self.study, self.recorder = search, study, recorder
        self.stop, self.taking = threading.Event(), threading.Lock()
        minutes = search.minutes
        deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self.workers = [
            Worker(
                command=command,
                gpu=gpus[at] if gpus else None,
                stop=self.stop,
                deadline=deadline,
            )
            for at in range(search.workers)
        ]
        self.repeats = 0

    def work(self) -> None:
        """Take trials until none is to be had; the first error of a worker ends all."""
        self._settle()
        while self._may_start():
            self._work()
            self._settle()

    def _work(self) -> None:
        with ThreadPoolExecutor(len(self.workers)) as pool:
            futures = [pool.submit(self._loop, worker) for worker in self.workers]
            try:
                while True:  # in steps: an interrupt is heard between them
                    done, waiting = wait(futures, 0.5, return_when=FIRST_EXCEPTION)
                    if not waiting or any(future.exception() for future in done):
                        break
            except BaseException:
                self.stop.set()
                raise
            if waiting:
                self.stop.set()
        for future in futures:
            future.result()

    def _may_start(self) -> bool:
        """Whether the budget allows for another trial, and there is one to draw."""
        if self.stop.is_set() or self.workers[0].late or self.repeats >= _MOST_REPEATS:
            return False
        trials, limit = counted(self.study), self.search
        waiting = any(trial.state == TrialState.WAITING for trial in trials)
        if limit.trials is not None and len(trials) >= limit.trials and not waiting:
            return False
        return limit.epochs is None or epochs_of(trials) < limit.epochs

    def _loop(self, worker: Worker) -> None:
        while (run := self._next(worker)) is not None:
            self.recorder.starts(run.trial.number, run.settings)
            if run.run():
                self.recorder.ended(run.trial.number)
            else:  # a training that a killed search left behind still lives in its folder
                self._withdraw(run.trial)
            self._check_failures()

    def _next(self, worker: Worker) -> TrialRun | None:
        """A trial to run; None where the budget is spent, or the search is to end."""
        with self.taking:
            while self._may_start():
                trial = self.study.ask()
                settings = self._draw(trial)
                if self._beyond(trial):  # another process was faster
                    self._withdraw(trial)
                    return None
                if not self._known(trial, settings):
                    self.repeats = 0
                    return TrialRun(trial, settings, self.search, self.study, worker)
                self._withdraw(trial)
                self.repeats += 1
        if self.repeats >= _MOST_REPEATS:
            LOG.info("What is drawn was all tried before: the search ends.")
        return None

    def _beyond(self, trial: Trial) -> bool:
        numbers = [other.number for other in counted(self.study)]
        limit = self.search.trials
        return limit is not None and numbers.index(trial.number) >= limit

    def _draw(self, trial: Trial) -> dict[str, Any]:
        """The trial's settings: drawn, but of the first trial the spec's own."""
        settings: dict[str, Any] = {}
        baseline = trial.user_attrs.get(BASELINE)
        for parameter in self.search.parameters:
            given = keys.get(self.search.tree, parameter.key)
            outside = baseline and parameter.stored(given) is None
            settings[parameter.key] = given if outside else parameter.draw(trial)
        trial.set_user_attr("settings", settings)
        trial.set_user_attr("host", socket.gethostname())
        return settings

    def _withdraw(self, trial: Trial) -> None:
        trial.set_user_attr(SURPLUS, True)
        self.study.tell(trial, state=TrialState.FAIL)

    def _known(self, trial: Trial, settings: Mapping[str, Any]) -> bool:
        """Whether a trial with just these settings is through, or at work."""
        if CONTINUES in trial.user_attrs:
            return False
        return any(
            other.number != trial.number and other.user_attrs.get("settings") == settings
            for other in counted(self.study)
        )

    def _settle(self) -> None:
        """Settle the trials whose searcher died: of a finished training the value is taken."""
        trials = self.study.get_trials(deepcopy=False)
        taken_up = {trial.user_attrs.get(CONTINUES) for trial in trials}
        for trial in trials:
            if trial.state != TrialState.RUNNING:
                continue
            folder = trial.user_attrs.get("folder")
            if folder is None:
                if _age(trial) > _UNHOUSED_SECONDS:  # killed before it began
                    self._settle_one(trial, None, trial.number in taken_up)
                continue
            if not Path(folder).is_dir():
                continue  # on another machine
            with child.held(Path(folder)) as lock:
                if lock is not None:
                    self._settle_one(trial, Path(folder), trial.number in taken_up)

    def _settle_one(self, trial: FrozenTrial, folder: Path | None, taken_up: bool) -> None:
        if folder is not None and child.finished(folder):
            value = worth(child.epochs_of(folder), self.search)
            if value is not None:
                self.study.tell(trial.number, value, skip_if_finished=True)
                self.recorder.ended(trial.number)
                return
        if not taken_up:
            again(self.study, trial)
        self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def _check_failures(self) -> None:
        done = [trial for trial in counted(self.study) if trial.state in DONE]
        if len(done) < _MOST_FAILURES or any(trial.state != TrialState.FAIL for trial in done):
            return
        raise RunError(
            "every-trial-failed",
            f"The first {len(done)} trials failed",
            got=done[-1].user_attrs.get("error"),
            expected="a spec that trains",
            hint=f"Mend it (logs: {self.search.folder}/trial_*/{child.LOG}), then search in "
            "another results_dir.",
        )


def _age(trial: FrozenTrial) -> float:
    """Seconds since it was drawn."""
    start = trial.datetime_start
    return 0.0 if start is None else (datetime.now() - start).total_seconds()
