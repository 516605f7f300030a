"""What the results.json of an `ocdnet automl` tells: trials, the best of them, what mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ocdnet.runs.progress import number, shortened

COMPLETE, PRUNED, FAILED, RUNNING = "complete", "pruned", "failed", "running"
STATES = (COMPLETE, PRUNED, FAILED, RUNNING)
METRICS = ("train_loss", "hmean")
_MOST_TRIALS = 10_000


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial.

    Attributes:
        number: counted from 0.
        state: one of STATES.
        baseline: whether it is the spec as it was given.
        value: of the metric, None where it was not trained to its end.
        last: the metric's last value, also of a trial that was ended early.
        settings: dotted key -> value.
        epochs: trained.
        hmean: the last measured, None without validation.
        seconds: how long it took.
        error: why it failed.
    """

    number: int
    state: str
    baseline: bool = False
    value: float | None = None
    last: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 0
    hmean: float | None = None
    seconds: float | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Searched:
    """What a search came to so far.

    Attributes:
        metric: "train_loss" (the less the better) or "hmean".
        trials: those that have begun, in order.
        total: how many there are to be; None where the number is not limited.
        importance: dotted key -> its share in what tells good trials from others.
        told: what was asked for: searched, trials, epochs, minutes, sampler, pruner, study.
    """

    metric: str
    trials: Sequence[Trial]
    total: int | None = None
    importance: Mapping[str, float] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> Trial | None:
        """The whole trial with the best value, the first of several."""
        whole = [t for t in self.trials if t.state == COMPLETE and t.value is not None]
        sign = -1 if self.metric == "hmean" else 1
        return min(whole, key=lambda t: sign * (t.value or 0.0), default=None)

    @property
    def baseline(self) -> Trial | None:
        """The spec as it was given."""
        return next((t for t in self.trials if t.baseline), None)

    def count(self, state: str) -> int:
        """Trials in a state."""
        return sum(t.state == state for t in self.trials)


def searched(result: Mapping[str, Any]) -> Searched | None:
    """The search in a results.json, whoever wrote it; None where it holds none."""
    metric, rows = result.get("metric"), result.get("trials")
    if result.get("action") != "automl" or metric not in METRICS or not isinstance(rows, list):
        return None
    told = result.get("search")
    told = told if isinstance(told, Mapping) else {}
    shares = result.get("importance")
    shares = shares if isinstance(shares, Mapping) else {}
    total = told.get("trials")
    return Searched(
        metric=metric,
        trials=[t for row in rows[:_MOST_TRIALS] if (t := _trial(row, metric)) is not None],
        total=total if isinstance(total, int) and not isinstance(total, bool) else None,
        importance={
            shortened(str(key)): share
            for key, value in shares.items()
            if (share := number(value)) is not None
        },
        told=told,
    )


def _trial(row: Any, metric: str) -> Trial | None:
    if not isinstance(row, Mapping) or row.get("state") not in STATES:
        return None
    at, settings, epochs = row.get("trial"), row.get("settings"), number(row.get("epochs"))
    if not isinstance(at, int) or isinstance(at, bool) or at < 0:
        return None
    error = row.get("error")
    return Trial(
        number=at,
        state=row["state"],
        baseline=row.get("baseline") is True,
        value=number(row.get("value")),
        last=number(row.get(metric)),
        settings=settings if isinstance(settings, Mapping) else {},
        epochs=int(epochs or 0),
        hmean=number(row.get("hmean")),
        seconds=number(row.get("seconds")),
        error=shortened(error) if isinstance(error, str) else None,
    )
