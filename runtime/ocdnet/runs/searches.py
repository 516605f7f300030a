"""What an `ocdnet automl` writes: its trials, the best of them, what mattered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal, get_args

from ocdnet.runs.names import PRUNERS, SAMPLERS, Direction, Metric, Pruner, Sampler
from ocdnet.runs.typed import Amount, Count, Record, Result, Unit, record

TrialState = Literal["complete", "pruned", "failed", "running"]
TRIAL_STATES: tuple[TrialState, ...] = get_args(TrialState)
COMPLETE, PRUNED, FAILED, RUNNING = TRIAL_STATES


@record
class TrialSummary(Record):
    """A trial in brief."""

    trial: Count
    """Counted from 0."""
    state: TrialState
    value: float | None = None
    """Of the metric."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Dotted key and value of what is searched."""
    folder: str | None = None
    """Its training's results."""
    train_loss: float | None = None
    """Mean loss of its last epoch."""
    hmean: Unit | None = None
    """Of its last validation."""


@record
class Trial(TrialSummary):
    """A trial that has begun."""

    baseline: bool = False
    epochs: Count = 0
    seconds: Amount | None = None
    host: str | None = None
    error: str | None = None
    precision: Unit | None = None
    """Of its last validation."""
    recall: Unit | None = None
    """Of its last validation."""
    stopped: Literal["pruned", "budget"] | None = None

    def last(self, metric: Metric) -> float | None:
        """Its value; of a trial that was ended early the metric's last."""
        if self.value is not None:
            return self.value
        return self.hmean if metric == "hmean" else self.train_loss


@record
class TrialStates(Record):
    """Numbers of trials."""

    complete: Count = 0
    pruned: Count = 0
    failed: Count = 0
    running: Count = 0

    @property
    def counts(self) -> dict[TrialState, int]:
        """By state, how many trials are in it, where there are any."""
        counts = {state: getattr(self, state) for state in TRIAL_STATES}
        return {state: count for state, count in counts.items() if count}


@record
class SearchOptions(Record):
    """What a search was asked for: enough to go on with it."""

    searched: tuple[str, ...] = ()
    asked: tuple[str, ...] | None = None
    fixed: tuple[str, ...] | None = None
    trials: Count | None = None
    epochs: Count | None = None
    minutes: Amount | None = None
    sampler: Sampler = SAMPLERS[0]
    pruner: Pruner = PRUNERS[0]
    storage: str | None = None
    study: str | None = None


@record
class SearchResult(Result):
    """Of a search."""

    action: Literal["automl"] = "automl"
    results_dir: str
    metric: Metric
    """What judges trials."""
    direction: Direction
    states: TrialStates
    """How many trials are in which state."""
    best: TrialSummary | None
    """The whole trial with the best value."""
    baseline: TrialSummary | None
    """The trial of the spec as it was."""
    importance: Mapping[str, Unit]
    """Share of each parameter in what tells good trials from others."""
    search: SearchOptions
    """What was asked for."""
    best_spec: str | None = None
    """The best trial's spec, ready to train with."""
    best_checkpoint: str | None = None
    """Path of model_best.pth."""
    trials: tuple[Trial, ...] | None = None
    """Every trial that has begun; not in what the command prints."""

    @property
    def begun(self) -> tuple[Trial, ...]:
        """The trials, none where they are not told."""
        return self.trials or ()
