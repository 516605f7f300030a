"""A line of status.json, and the numbers that it may hold.

schemas/status.schema.json is generated from these fields.
"""

from __future__ import annotations

from typing import Annotated, Literal

from ocdnet.runs.typed import (
    Amount,
    Count,
    Pattern,
    Record,
    SchemaVersion,
    Unit,
    Warned,
    With,
    record,
)

Duration = Annotated[str, Pattern(r"^(\d+ days?, )?\d+:\d\d:\d\d(\.\d+)?$")]
State = Literal["STARTED", "RUNNING", "SUCCESS", "FAILURE"]
Verbosity = Literal["INFO", "WARNING", "ERROR"]


@record
class PartialScores(Record):
    """Scores where there may be none: without validation data, or before the first validation."""

    hmean: Unit | None = None
    """Harmonic mean of precision and recall."""
    precision: Unit | None = None
    """Share of the detections that are right."""
    recall: Unit | None = None
    """Share of the text regions that are found."""


@record
class Metrics(PartialScores):
    """What judges an epoch."""

    train_loss: float | None = None
    """Mean loss of the epoch just ended."""


@record
class Kpi(Metrics):
    """The numbers of a status line."""

    shrink_loss: float | None = None
    """Its cross-entropy, not weighted."""
    threshold_loss: float | None = None
    """Its L1, not weighted."""
    binary_loss: float | None = None
    """Its dice loss, not weighted."""
    lr: Amount | None = None
    """Learning rate of its last step."""
    max_difference: Amount | None = None
    """Largest difference of a probability between the file written and its source."""
    mean_difference: Amount | None = None
    """Mean of these differences."""


@record
class StatusLine(Record):
    """One line of status.json."""

    schema_version: SchemaVersion = 1
    date: Annotated[str, Pattern(r"^\d\d/\d\d/\d{4}$")] = ""
    time: Annotated[str, Pattern(r"^\d\d:\d\d:\d\d$")] = ""
    status: State
    verbosity: Verbosity = "INFO"
    message: str = ""
    """One sentence for people."""
    kpi: Kpi | None = None
    """Numbers measured just now."""
    epoch: (
        Annotated[
            Count,
            With(("step", "max_epoch", "max_step", "time_per_epoch", "time_per_step", "eta")),
        ]
        | None
    ) = None
    """Epoch just ended, counted from 0."""
    step: Count | None = None
    """Optimiser steps so far."""
    max_epoch: Count | None = None
    """num_epochs - 1."""
    max_step: Count | None = None
    time_per_epoch: Duration | None = None
    time_per_step: Duration | None = None
    eta: Duration | None = None
    """Time left, at the pace of the last epoch."""
    trial: Count | None = None
    """Trial of a search just ended, from 0."""
    trials: Count | None = None
    """Trials of the search in all."""
    warnings: tuple[Warned, ...] | None = None
    """What the message of a warning says, for programs."""
