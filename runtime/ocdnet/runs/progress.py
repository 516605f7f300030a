"""What the lines of a status.json say of a run, ours or TAO's."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ocdnet.catalogue import RUNS
from ocdnet.runs.status import State, StatusLines

KPIS = ("train_loss", "hmean", "precision", "recall")
_LONGEST = 600
_STARTING = re.compile(r"Starting OCDNet (\w{1,40})", re.IGNORECASE)
_FINISHED = re.compile(r"\w+ finished successfully", re.IGNORECASE)
_DURATION = re.compile(r"(?:(\d{1,6}) days?, )?(\d{1,6}):(\d{1,2}):(\d{1,2}(?:\.\d{1,9})?)")

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Best:
    """The best epoch so far.

    Attributes:
        epoch: counted from 1.
        metric: "hmean" or "train_loss".
        value: its value there.
    """

    epoch: int
    metric: str
    value: float


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
        best: highest hmean in the file, None where it was not measured or not all was read.
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


def progress(told: StatusLines) -> Progress:
    """The run that the last start in a status file began."""
    lines = told.lines
    starts = [number for number, line in enumerate(lines) if _STARTING.match(_message(line))]
    run = lines[starts[-1] :] if starts else lines
    if not run:
        return Progress()
    state: State = run[-1]["status"]
    if state == "RUNNING" and any(_FINISHED.match(_message(line)) for line in run):
        state = "SUCCESS"  # TAO never writes it
    epochs = [line for line in run if epoch_in(line, "epoch") is not None]
    last = epochs[-1] if epochs else {}
    return Progress(
        action=_action(run[0]),
        state=state,
        epoch=epoch_in(last, "epoch"),
        epochs=epoch_in(last, "max_epoch"),
        seconds_per_epoch=seconds_in(last.get("time_per_epoch")),
        seconds_left=seconds_in(last.get("eta")),
        kpis={name: value for line in run for name, value in _kpis(line).items()},
        best=_best(lines) if told.whole else None,
        message=_message(run[-1]) or None,
        error=(_message(run[-1]) or "no reason given") if state == "FAILURE" else None,
    )


def shortened(text: str) -> str:
    """Printable text of bounded length: a status file may hold anything."""
    flat = "".join(char if char.isprintable() else " " for char in text[: _LONGEST + 1])
    return flat if len(text) <= _LONGEST else f"{flat[:_LONGEST]}..."


def _action(line: Line) -> str | None:
    match = _STARTING.match(_message(line))
    name = match[1].lower() if match else None
    return name if name in RUNS else None


def _best(lines: Sequence[Line]) -> Best | None:
    """Of the epochs that were validated (the scores come a line before the epoch's own)."""
    best, fresh = None, None
    for line in lines:
        epoch = epoch_in(line, "epoch")
        if epoch is None:
            if _message(line).startswith("Eval metrics"):
                fresh = _kpis(line).get("hmean")
        elif fresh is not None:
            if best is None or fresh > best.value:
                best = Best(epoch, "hmean", fresh)
            fresh = None
    return best


def _message(line: Line) -> str:
    message = line.get("message")
    return shortened(message) if isinstance(message, str) else ""


def epoch_in(line: Line, name: str) -> int | None:
    """An epoch of a line, which counts from 0, as people count."""
    value = line.get(name)
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9
    return value + 1 if known else None  # type: ignore[operator]


def _kpis(line: Line) -> dict[str, float]:
    found = numbers_in(line)
    return {name: found[name] for name in KPIS if name in found}


def numbers_in(line: Line) -> dict[str, float]:
    """A line's finite kpis. TAO writes some as text, and some names with a capital."""
    kpi = line.get("kpi")
    if not isinstance(kpi, Mapping):
        return {}
    found = {str(name).lower(): number(value) for name, value in kpi.items()}
    return {name: value for name, value in found.items() if value is not None}


def number(value: Any) -> float | None:
    """A finite number, or the text of one; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def seconds_in(value: Any) -> float | None:
    """Seconds of Python's `[D days, ]H:MM:SS[.ffffff]`."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    days, hours, minutes = (int(match[group] or 0) for group in (1, 2, 3))
    return ((days * 24 + hours) * 60 + minutes) * 60 + float(match[4])
