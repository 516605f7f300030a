"""What a search leaves: results.json, best_spec.yaml, the link to the best model, status lines."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
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
from ocdnet.files import link, write_json, write_text
from ocdnet.runs.files import BEST, BEST_SPEC
from ocdnet.runs.searches import COMPLETE, FAILED, METRICS, PRUNED, RUNNING
from ocdnet.runs.status import StatusWriter
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


class Record:
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
        row = next((row for row in self.rows() if row["trial"] == number), None)
        if row is None:
            return  # it was interrupted, and waits to be taken up
        told = f"{self._name(number)} {row['state']}: {_told(row, self.search.metric)}"
        found = result["best"]
        if found:
            told += f"  (best {found['value']:.6g}, trial {found['trial']})"
        LOG.info(told)
        kpi: dict[str, float] = {name: row[name] for name in METRICS if name in row}
        total: dict[str, Any] = {}
        if self.search.trials is not None:
            total["trials"] = self.search.trials
        self.status.write("RUNNING", told, kpi or None, trial=number, **total)

    def write(self) -> dict[str, Any]:
        """Write the files; what results.json holds, less its trials."""
        # Looking and writing are one: nobody writes an older state over a newer one.
        with exclusive(self.search.folder):
            rows, result = self.rows(), self._result()
            write_json(self.search.folder / "results.json", result | {"trials": rows})
            return result

    def rows(self) -> list[dict[str, Any]]:
        """The trials that count and have begun, in order."""
        begun = [trial for trial in counted(self.study) if trial.state in _STATES]
        return [self._row(trial) for trial in begun]

    def _row(self, trial: FrozenTrial) -> dict[str, Any]:
        attributes = trial.user_attrs
        row = {
            "trial": trial.number,
            "state": _STATES[trial.state],
            "baseline": bool(attributes.get(BASELINE)),
            "value": trial.value,
            "settings": attributes.get("settings", {}),
            "epochs": attributes.get("epochs", 0),
            "seconds": attributes.get("seconds"),
            "folder": attributes.get("folder"),
            "host": attributes.get("host"),
            "error": attributes.get("error"),
            **self._kpis(trial),
        }
        if trial.state == TrialState.PRUNED:
            row["stopped"] = attributes.get("stopped", "pruned")
            row["value"] = None
        return {name: value for name, value in row.items() if value is not None}

    @staticmethod
    def _kpis(trial: FrozenTrial) -> dict[str, float]:
        found: dict[str, float] | None = trial.user_attrs.get("kpis")
        folder = trial.user_attrs.get("folder")
        if found is None and folder and trial.state == TrialState.COMPLETE:
            found = last_values(child.epochs_of(Path(folder)))  # its searcher was killed
        return found or {}

    def _result(self) -> dict[str, Any]:
        trials, search = counted(self.study), self.search
        states = [_STATES[trial.state] for trial in trials if trial.state in _STATES]
        found = best(trials, search)
        base = next((trial for trial in trials if trial.user_attrs.get(BASELINE)), None)
        result: dict[str, Any] = {
            "action": "automl",
            "results_dir": str(search.folder),
            "metric": search.metric,
            "direction": search.direction,
            "states": {name: states.count(name) for name in (COMPLETE, PRUNED, FAILED, RUNNING)},
            "best": self._brief(found),
            "baseline": self._brief(base),
            "importance": self._importance(),
            "search": self._settings(),
        }
        if found is not None:
            result |= self._keep_best(found)
        return result

    def _brief(self, trial: FrozenTrial | None) -> dict[str, Any] | None:
        if trial is None or trial.state not in _STATES:
            return None
        row = self._row(trial)
        kept = ("trial", "state", "value", "settings", "train_loss", "hmean", "folder")
        return {name: row[name] for name in kept if name in row}

    def _settings(self) -> dict[str, Any]:
        """What was asked for: enough to go on with it."""
        search = self.search
        told = {
            "searched": [parameter.key for parameter in search.parameters],
            "asked": list(search.asked) or None,
            "fixed": list(search.fixed) or None,
            "trials": search.trials,
            "epochs": search.epochs,
            "minutes": search.minutes,
            "sampler": search.sampler,
            "pruner": search.pruner,
            "storage": masked(search.storage) if search.storage else None,
            "study": search.study if search.storage else None,
        }
        return {name: value for name, value in told.items() if value is not None}

    def _importance(self) -> dict[str, float]:
        """Share of each parameter in what tells good trials from others (PED-ANOVA)."""
        whole = [t for t in counted(self.study) if t.state == TrialState.COMPLETE]
        drawn = {key for trial in whole for key in trial.params}
        varied = [key for key in sorted(drawn) if len({t.params.get(key) for t in whole}) > 1]
        if len(whole) < _FEWEST or not varied:
            return {}
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        try:
            found = optuna.importance.get_param_importances(
                self.study, evaluator=evaluator, params=varied
            )
        except (ValueError, RuntimeError):  # all values alike
            return {}
        return {key: round(float(share), 4) for key, share in found.items()}

    def _keep_best(self, trial: FrozenTrial) -> dict[str, Any]:
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
        told = {"best_spec": str(folder / BEST_SPEC)}
        model = Path(attributes.get("folder", "")) / BEST
        if model.is_file():
            link(folder / BEST, Path(os.path.relpath(model, folder)))
            told["best_checkpoint"] = str(folder / BEST)
        return told

    def _name(self, number: int) -> str:
        """A trial's number, and its place among those that count."""
        numbers = [trial.number for trial in counted(self.study)]
        place = f"{numbers.index(number) + 1}" if number in numbers else "?"
        of = f" of {self.search.trials}" if self.search.trials else ""
        return f"[{place}{of}] trial {number}"


def _told(row: Mapping[str, Any], metric: str) -> str:
    """How a trial went, in a line."""
    parts: list[str] = []
    if metric in row:
        parts.append(f"{metric} {row.get('value', row[metric]):.6g}")
    parts += [f"hmean {row['hmean']:.4f}"] if metric != "hmean" and "hmean" in row else []
    parts.append(f"{row['epochs']} epochs" if row["epochs"] != 1 else "1 epoch")
    parts += [f"{row['seconds']:.0f} s"] if "seconds" in row else []
    parts += [f"stopped: {row['stopped']}"] if row.get("stopped") == "budget" else []
    parts += [str(row["error"])] if "error" in row else []
    return "  ".join(parts)


def _in_words(settings: Mapping[str, Any]) -> str:
    return "  ".join(f"{key.rpartition('.')[2]}={_short(value)}" for key, value in settings.items())


def _short(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else inline_yaml(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
