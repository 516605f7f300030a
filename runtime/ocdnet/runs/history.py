"""What a status.json tells of a training, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ocdnet.runs.names import KPIS, LOSS_TERMS, SCORES
from ocdnet.runs.progress import counted, numbers, seconds_in, shortened
from ocdnet.runs.status import TRAINED, VALIDATED, StatusLines, read_status
from ocdnet.runs.status_line import StatusLine

_MOST_WARNINGS = 50
_OF_TRAINING = (*(name for name in KPIS if name not in SCORES), *LOSS_TERMS, "lr")


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
        started: date and time of the first line, by ISO 8601.
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
    messages = (line.message for line in lines if line.verbosity == "WARNING" and line.message)
    warnings = dict.fromkeys(map(shortened, messages))
    return History(
        epochs=_epochs(lines),
        warnings=list(warnings)[:_MOST_WARNINGS],
        started=_time(lines[0]) if lines else None,
        ended=_time(lines[-1]) if lines else None,
        whole=status.whole,
    )


def _epochs(lines: list[StatusLine]) -> list[Epoch]:
    """An epoch's scores come a line before its own, its loss a line after."""
    epochs: list[Epoch] = []
    scores: dict[str, float] = {}
    for line in lines:
        number = counted(line.epoch)
        if number is not None:
            while epochs and epochs[-1].number >= number:  # begun anew, or resumed from before it
                epochs.pop()
            epochs.append(Epoch(number, scores, seconds_in(line.time_per_epoch)))
            scores = {}
        elif line.message == VALIDATED:
            scores = numbers(line.kpi, SCORES)
        elif line.message == TRAINED and epochs:
            # Without the scores: TAO repeats the last ones in every line after them.
            epochs[-1].values |= numbers(line.kpi, _OF_TRAINING)
    return epochs


def _time(line: StatusLine) -> str:
    """Date and time by ISO 8601; as they are where they are none."""
    written = f"{line.date} {line.time}".strip()
    try:
        return datetime.strptime(written, "%m/%d/%Y %H:%M:%S").isoformat(" ")
    except ValueError:
        return shortened(written)
