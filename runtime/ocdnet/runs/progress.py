"""What the lines of a status.json say of a run, ours or TAO's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ocdnet.catalogue import RUNS
from ocdnet.runs.names import KPIS, Metric, rank
from ocdnet.runs.status import STARTING, TRAINED, VALIDATED, StatusLines
from ocdnet.runs.status_line import State, StatusLine
from ocdnet.runs.typed import Record

_LONGEST = 600
_STARTING = re.compile(rf"{STARTING} (\w{{1,40}})", re.IGNORECASE)
_FINISHED = re.compile(r"\w+ finished successfully", re.IGNORECASE)
_INTERRUPTED = re.compile(r"(\w+ was )?interrupted\b", re.IGNORECASE)
_DURATION = re.compile(r"(?:(\d{1,6}) days?, )?(\d{1,6}):(\d{1,2}):(\d{1,2}(?:\.\d{1,9})?)")


@dataclass(frozen=True)
class Best:
    """The best epoch so far.

    Attributes:
        epoch: counted from 1.
        metric: what judges it.
        value: its value there.
    """

    epoch: int
    metric: Metric
    value: float

    @property
    def found_text(self) -> bool:
        """Whether it is the best of anything: of epochs that all have hmean 0 none is."""
        return self.metric != "hmean" or self.value > 0


@dataclass
class _Validated:
    """An epoch, counted from 1, with its scores."""

    epoch: int
    hmean: float
    train_loss: float | None = None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is, as its last start tells.

    Attributes:
        action: what was started, None where no line says so.
        state: None where nothing was told.
        epoch: epochs done.
        epochs: epochs in all.
        seconds_per_epoch: pace of the last epoch.
        seconds_left: what was left after the last epoch.
        kpis: latest of each of KPIS.
        best: highest hmean in the file, of equal ones that of the lowest train_loss; None where it
            was not measured or not all was read.
        message: the last line's.
        error: why it failed, with the remedy where it gave one.
    """

    action: str | None = None
    state: State | None = None
    epoch: int | None = None
    epochs: int | None = None
    seconds_per_epoch: float | None = None
    seconds_left: float | None = None
    kpis: Mapping[str, float] = field(default_factory=dict)
    best: Best | None = None
    message: str | None = None
    error: str | None = None

    @property
    def interrupted(self) -> bool:
        """Whether it failed because somebody stopped it, as we or TAO write it."""
        return self.state == "FAILURE" and bool(_INTERRUPTED.match(self.error or ""))


def progress(status: StatusLines) -> Progress:
    """The run that the last start in a status file began."""
    lines = status.lines
    starts = [number for number, line in enumerate(lines) if _STARTING.match(line.message)]
    run = lines[starts[-1] :] if starts else lines
    if not run:
        return Progress()
    last, state = run[-1], run[-1].status
    if state == "RUNNING" and any(_FINISHED.match(line.message) for line in run):
        state = "SUCCESS"  # TAO never writes it
    nothing = StatusLine(status=last.status)
    epoch = next((line for line in reversed(run) if line.epoch is not None), nothing)
    message = shortened(last.message)
    return Progress(
        action=_action(run[0]),
        state=state,
        epoch=counted(epoch.epoch),
        epochs=counted(epoch.max_epoch),
        seconds_per_epoch=seconds_in(epoch.time_per_epoch),
        seconds_left=seconds_in(epoch.eta),
        kpis={name: value for line in run for name, value in numbers(line.kpi, KPIS).items()},
        best=_best(lines) if status.whole else None,
        message=message or None,
        error=(message or "no reason given") if state == "FAILURE" else None,
    )


def shortened(text: str) -> str:
    """Printable text of bounded length: a status file may hold anything."""
    flat = "".join(char if char.isprintable() else " " for char in text[: _LONGEST + 1])
    return flat if len(text) <= _LONGEST else f"{flat[:_LONGEST]}..."


def _action(line: StatusLine) -> str | None:
    match = _STARTING.match(line.message)
    name = match[1].lower() if match else None
    return name if name in RUNS else None


def _best(lines: Sequence[StatusLine]) -> Best | None:
    """Of the validated epochs: the scores come a line before the epoch's own, its loss after."""
    validated: list[_Validated] = []
    fresh, told = None, False
    for line in lines:
        epoch, kpi = counted(line.epoch), line.kpi
        if epoch is not None:
            while validated and validated[-1].epoch >= epoch:  # begun anew, or from before it
                validated.pop()
            told = fresh is not None
            if fresh is not None:
                validated.append(_Validated(epoch, fresh))
            fresh = None
        elif line.message == VALIDATED and kpi:
            fresh = kpi.hmean
        elif line.message == TRAINED and kpi and told:
            validated[-1].train_loss = kpi.train_loss
    if not validated:
        return None
    best = max(validated, key=lambda one: rank("hmean", one.hmean, one.train_loss))
    return Best(best.epoch, "hmean", best.hmean)


def counted(epoch: int | None) -> int | None:
    """An epoch as people count, from 1; in status.json and results.json epochs count from 0."""
    return None if epoch is None else epoch + 1


def numbers(measured: Record | None, names: Sequence[str]) -> dict[str, float]:
    """Those of the named fields of a record that were measured."""
    values = {name: getattr(measured, name, None) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def seconds_in(duration: str | None) -> float | None:
    """Seconds of Python's `[D days, ]H:MM:SS[.ffffff]`; None where it is none."""
    match = _DURATION.fullmatch(duration or "")
    if match is None:
        return None
    days, hours, minutes = (int(match[group] or 0) for group in (1, 2, 3))
    return ((days * 24 + hours) * 60 + minutes) * 60 + float(match[4])
