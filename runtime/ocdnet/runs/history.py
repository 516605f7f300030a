"""What a status.json tells of a training, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocdnet.runs.progress import epoch_in, numbers_in, seconds_in, shortened
from ocdnet.runs.status import StatusLines, read_status

SCORES = ("hmean", "precision", "recall")
_MOST_WARNINGS = 50


@dataclass
class Epoch:
    """One epoch.

    Attributes:
        number: counted from 1.
        values: what was measured: train_loss, its terms, lr; hmean, precision and recall where
            the epoch was validated.
        seconds: how long it took.
    """

    number: int
    values: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None


@dataclass(frozen=True)
class History:
    """A run's life.

    Attributes:
        epochs: in order; where a run was resumed, what it did again counts.
        warnings: what it warned of, each once.
        started: date and time of the first line, as written.
        ended: of the last.
        whole: whether the file was short enough to be read whole.
    """

    epochs: list[Epoch]
    warnings: list[str]
    started: str | None
    ended: str | None
    whole: bool


def history(path: Path) -> History:
    """The history in a status.json, ours or TAO's; an empty one where there is none."""
    try:
        status = read_status(path)
    except OSError:
        status = StatusLines([], whole=True, changed=0)
    lines = status.lines
    messages = (line.get("message") for line in lines if line.get("verbosity") == "WARNING")
    warnings = dict.fromkeys(shortened(text) for text in messages if isinstance(text, str))
    return History(
        epochs=_epochs(lines),
        warnings=list(warnings)[:_MOST_WARNINGS],
        started=_time(lines[0]) if lines else None,
        ended=_time(lines[-1]) if lines else None,
        whole=status.whole,
    )


def _epochs(lines: list[dict[str, Any]]) -> list[Epoch]:
    """An epoch's scores come a line before its own, its loss a line after."""
    epochs: list[Epoch] = []
    scores: dict[str, float] = {}
    for line in lines:
        message, values = line.get("message"), numbers_in(line)
        at = epoch_in(line, "epoch")
        if at is not None:
            while epochs and epochs[-1].number >= at:  # begun anew, or resumed from before it
                epochs.pop()
            epochs.append(Epoch(at, scores, seconds_in(line.get("time_per_epoch"))))
            scores = {}
        elif message == "Eval metrics generated.":
            scores = {name: value for name, value in values.items() if name in SCORES}
        elif message == "Train metrics generated." and epochs:
            # TAO repeats the last scores in every line after them.
            new = {name: value for name, value in values.items() if name not in SCORES}
            epochs[-1].values |= new
    return epochs


def _time(line: Mapping[str, Any]) -> str:
    return shortened(f"{line.get('date', '')} {line.get('time', '')}".strip())
