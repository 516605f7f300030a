"""What a search leaves: results.json, best_spec.yaml, the link to the best model, status lines."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ocdnet import spec_keys
from ocdnet.automl import child
from ocdnet.automl.study import BASELINE, Search, best, counted, exclusive, masked
from ocdnet.automl.trial import last_values
from ocdnet.config import spec
from ocdnet.files import link, write_text
from ocdnet.runs.files import BEST, BEST_SPEC
from ocdnet.runs.names import METRICS, Metric
from ocdnet.runs.progress import numbers
from ocdnet.runs.records import write_results
from ocdnet.runs.searches import (
    COMPLETE,
    FAILED,
    PRUNED,
    RUNNING,
    SearchOptions,
    SearchResult,
    Trial,
    TrialStates,
    TrialSummary,
)
from ocdnet.runs.status import StatusWriter
from ocdnet.runs.status_line import Kpi
from ocdnet.tree import keys
from ocdnet.tree.yaml_io import inline_yaml

LOG = logging.getLogger("ocdnet")
_STATES = {
    TrialState.COMPLETE: COMPLETE,
    TrialState.PRUNED: PRUNED,
    TrialState.FAIL: FAILED,
    TrialState.RUNNING: RUNNING,
}
_FEWEST = 4
"""Whole trials before it can be said which parameter matters."""


class Recorder:
    """Writes what a search came to so far.

    Args:
        search: the search.
        study: its trials.
        status: its status.json.
    """

    def __init__(self, search: Search, study: Study, status: StatusWriter) -> None:
        self.search, self.study, self.status = search, study, status

    def starts(self, number: int, settings: Mapping[str, Any]) -> None:
        """Say which trial begins."""
        LOG.info("%s starts: %s", self._name(number), _in_words(settings))
        self.write()

    def ended(self, number: int) -> None:
        """Say how a trial ended: a line on stderr, one in status.json, and the files."""
        result = self.write()
        trial = next((trial for trial in result.trials or () if trial.trial == number), None)
        if trial is None:
            return  # it was interrupted, and waits to be taken up
        text = f"{self._name(number)} {trial.state}: {_ending(trial, self.search.metric)}"
        if result.best is not None:
            text += f"  (best {result.best.value:.6g}, trial {result.best.trial})"
        LOG.info(text)
        measured: dict[str, Any] = dict(numbers(trial, METRICS))
        kpi = Kpi(**measured) if measured else None
        self.status.write("RUNNING", text, kpi, trial=number, trials=self.search.trials)

    def write(self) -> SearchResult:
        """Write the files; what results.json holds."""
        # Looking and writing are one: nobody writes an older state over a newer one.
        with exclusive(self.search.folder):
            result = self._result()
            write_results(self.search.folder, result)
            return result

    def _trial(self, trial: FrozenTrial) -> Trial:
        attributes = trial.user_attrs
        pruned = trial.state == TrialState.PRUNED
        return Trial(
            trial=trial.number,
            state=_STATES[trial.state],
            baseline=bool(attributes.get(BASELINE)),
            value=None if pruned else trial.value,
            settings=attributes.get("settings", {}),
            epochs=attributes.get("epochs", 0),
            seconds=attributes.get("seconds"),
            folder=attributes.get("folder"),
            host=attributes.get("host"),
            error=attributes.get("error"),
            stopped=attributes.get("stopped", "pruned") if pruned else None,
            **self._kpis(trial),
        )

    @staticmethod
    def _kpis(trial: FrozenTrial) -> dict[str, Any]:
        kpis: dict[str, Any] | None = trial.user_attrs.get("kpis")
        folder = trial.user_attrs.get("folder")
        if kpis is None and folder and trial.state == TrialState.COMPLETE:
            kpis = dict(last_values(child.epochs_of(Path(folder))))  # its searcher was killed
        return kpis or {}

    def _result(self) -> SearchResult:
        counting, search = counted(self.study), self.search
        begun = [trial for trial in counting if trial.state in _STATES]
        states: Any = Counter(_STATES[trial.state] for trial in begun)
        leader = best(counting, search)
        base = next((trial for trial in counting if trial.user_attrs.get(BASELINE)), None)
        result = SearchResult(
            results_dir=str(search.folder),
            metric=search.metric,
            direction=search.direction,
            states=TrialStates(**states),
            best=self._summary(leader),
            baseline=self._summary(base),
            importance=self._importance(),
            search=self._options(),
            trials=tuple(self._trial(trial) for trial in begun),
        )
        return result if leader is None else self._keep_best(leader, result)

    def _summary(self, trial: FrozenTrial | None) -> TrialSummary | None:
        if trial is None or trial.state not in _STATES:
            return None
        whole = self._trial(trial)
        names = [item.name for item in fields(TrialSummary)]
        return TrialSummary(**{name: getattr(whole, name) for name in names})

    def _options(self) -> SearchOptions:
        """What was asked for: enough to go on with it."""
        search = self.search
        return SearchOptions(
            searched=tuple(parameter.key for parameter in search.parameters),
            asked=tuple(search.asked) or None,
            fixed=tuple(search.fixed) or None,
            trials=search.trials,
            epochs=search.epochs,
            minutes=search.minutes,
            sampler=search.sampler,
            pruner=search.pruner,
            storage=masked(search.storage) if search.storage else None,
            study=search.study if search.storage else None,
        )

    def _importance(self) -> dict[str, float]:
        """Share of each parameter in what tells good trials from others (PED-ANOVA)."""
        whole = [t for t in counted(self.study) if t.state == TrialState.COMPLETE]
        drawn = {key for trial in whole for key in trial.params}
        varied = [key for key in sorted(drawn) if len({t.params.get(key) for t in whole}) > 1]
        if len(whole) < _FEWEST or not varied:
            return {}
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        try:
            shares = optuna.importance.get_param_importances(
                self.study, evaluator=evaluator, params=varied
            )
        except (ValueError, RuntimeError):  # all values alike
            return {}
        return {key: round(float(share), 4) for key, share in shares.items()}

    def _keep_best(self, trial: FrozenTrial, result: SearchResult) -> SearchResult:
        """The best trial's spec, checked, and a link to its model where it is on this machine."""
        folder, attributes = self.search.folder, trial.user_attrs
        tree = spec.completed("train", self.search.tree)
        for key, value in attributes["settings"].items():
            keys.set(tree, key, value)
        spec.resolve("train", tree)
        head = (
            f"# The best of a search: trial {trial.number}, {self.search.metric} {trial.value}.\n"
        )
        write_text(folder / BEST_SPEC, head + spec.to_yaml(spec_keys.masked(tree)))
        result = replace(result, best_spec=str(folder / BEST_SPEC))
        model = Path(attributes.get("folder", "")) / BEST
        if model.is_file():
            link(folder / BEST, Path(os.path.relpath(model, folder)))
            result = replace(result, best_checkpoint=str(folder / BEST))
        return result

    def _name(self, number: int) -> str:
        """A trial's number, and its place among those that count."""
        numbers = [trial.number for trial in counted(self.study)]
        place = f"{numbers.index(number) + 1}" if number in numbers else "?"
        of = f" of {self.search.trials}" if self.search.trials else ""
        return f"[{place}{of}] trial {number}"


def _ending(trial: Trial, metric: Metric) -> str:
    """How a trial went, in a line."""
    parts: list[str] = []
    last = trial.last(metric)
    if last is not None:
        parts.append(f"{metric} {last:.6g}")
    if metric != "hmean" and trial.hmean is not None:
        parts.append(f"hmean {trial.hmean:.4f}")
    parts.append(f"{trial.epochs} epochs" if trial.epochs != 1 else "1 epoch")
    parts += [f"{trial.seconds:.0f} s"] if trial.seconds is not None else []
    parts += [f"stopped: {trial.stopped}"] if trial.stopped == "budget" else []
    parts += [trial.error] if trial.error else []
    return "  ".join(parts)


def _in_words(settings: Mapping[str, Any]) -> str:
    return "  ".join(f"{key.rpartition('.')[2]}={_short(value)}" for key, value in settings.items())


def _short(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else inline_yaml(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
