"""What `ocdnet report` prints of several runs."""

from __future__ import annotations

from typing import Any

from ocdnet.runs.records import Scores, Thresholds
from ocdnet.runs.typed import Count, Record, SchemaVersion, Unit, record


@record
class TrainingCompared(Record):
    """A run's training."""

    folder: str
    state: str
    """finished, failed, interrupted, running, started, unknown, or silent, perhaps killed."""
    epochs: Count | None = None
    """Done."""
    best_hmean: Unit | None = None
    """Absent where no epoch found text, or none was validated."""
    best_epoch: Count | None = None
    """Counted from 1."""


@record
class EvaluationCompared(Scores):
    """A run's evaluation: its own scores, over all its pictures."""

    folder: str
    images: Count
    checkpoint: str
    thresholds: Thresholds
    backend: str | None = None
    resize: str | None = None


@record
class RunCompared(Record):
    """A run."""

    name: str
    """A, B, C ... in the order given."""
    folder: str
    training: TrainingCompared | None = None
    evaluation: EvaluationCompared | None = None


@record
class SettingCompared(Record):
    """A key whose values differ."""

    key: str
    actions: tuple[str, ...]
    """Of whose jobs."""
    values: tuple[Any, ...]
    """Of each run; null: it has no such job, or no such key."""


@record
class WordsCompared(Record):
    """Texts that count, of the pictures that both runs tell of."""

    both: Count
    only_first: Count
    only_second: Count
    neither: Count
    only_first_images: tuple[str, ...]
    """Pictures with texts that only the first run finds, those with the most first; at most 20."""
    only_second_images: tuple[str, ...]


@record
class PairCompared(Record):
    """Two runs on the pictures that both were evaluated on."""

    first: str
    second: str
    images: Count
    hmean_first: Unit
    hmean_second: Unit
    difference: float
    """Of the second from the first."""
    interval: tuple[float, ...]
    """95 % bootstrap interval of the difference: least and greatest."""
    words: WordsCompared | None = None
    """Absent where a run did not explain its pictures."""


@record
class Comparison(Record):
    """Several runs."""

    schema_version: SchemaVersion = 1
    report: str
    """The page."""
    bytes: Count = 0
    """Of the page."""
    runs: tuple[RunCompared, ...]
    pairs: tuple[PairCompared, ...]
    """The first run with each other one."""
    settings: tuple[SettingCompared, ...]
    """Folders of results are not compared."""
    notes: tuple[str, ...]
    """What differs beside the models, and what can't be compared."""
