"""What `ocdnet data check`, `stats` and `split` print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ocdnet.runs.printed import Problem
from ocdnet.runs.typed import Count, Record, SchemaVersion, Unit, Warned, record

Verdict = Literal["good", "look at", "cannot be used"]


@record
class Spread(Record):
    """How a number is spread over what has it."""

    least: float
    p10: float
    """A tenth is at most that."""
    median: float
    p90: float
    most: float
    edges: tuple[float, ...]
    """Where each column of the histogram begins; the next one ends it, or nothing."""
    counts: tuple[Count, ...]
    """How many each column has."""


@record
class SizeCount(Record):
    """Pictures of one size, as a viewer shows them."""

    width: Count
    height: Count
    images: Count


@record
class SetNumbers(Record):
    """What a data path holds."""

    path: str
    images: Count
    """Whose labels could be read."""
    empty_images: Count
    """Of them those without any region."""
    regions: Count
    words: Count
    """Regions that train and count."""
    ignored: Count
    """Regions that do not: by their tag, or without area."""
    ignored_share: Unit
    words_per_image: Spread | None
    """null: nothing of it was seen; so below."""
    heights: Spread | None
    """Of words, the shorter side in pixels."""
    lengths: Spread | None
    """Of words, the longer side in pixels."""
    angles: Spread | None
    """Of words, in degrees, clockwise: how the longer side runs."""
    sizes: tuple[SizeCount, ...]
    """The ten that most pictures have."""
    different_sizes: Count


@record
class DataStats(Record):
    """Of `ocdnet data stats`."""

    schema_version: SchemaVersion = 1
    data: tuple[SetNumbers, ...]


@record
class SetChecked(SetNumbers):
    """What a data path holds, and what is wrong with it."""

    errors: tuple[Problem, ...]
    """Of labels and pictures that can't be read: one of a kind, which lists the first ten."""
    errors_count: Count
    warnings: tuple[Warned, ...]
    """As a run would have them."""
    alike_images: Count | None
    """Pictures that nearly are another one of the same path; null: not looked for."""
    alike: tuple[tuple[str, ...], ...]
    """The first ten groups of them."""


@record
class DataSetting(Record):
    """A setting that suits the data."""

    actions: tuple[str, ...]
    """Whose spec has the key."""
    key: str
    value: Any
    why: str


@record
class MendedCopy(Record):
    """What `--fix` wrote."""

    out: str
    data_paths: tuple[str, ...]
    """One for each path, in their order; what nothing was left of has none."""
    images: Count
    left_out: Count
    """Pictures: not to be read, without labels that can be read, or with those of another one."""
    left_out_first: tuple[str, ...]
    """The first ten, each with the reason."""
    mended: Mapping[str, Count]
    """Number of regions or files, by what was done to them."""


@record
class DataChecked(Record):
    """Of `ocdnet data check`."""

    schema_version: SchemaVersion = 1
    verdict: Verdict
    reasons: tuple[str, ...]
    data: tuple[SetChecked, ...]
    shared_images: Count | None
    """Pictures that nearly are one of another path; null: not looked for."""
    shared: tuple[tuple[str, ...], ...]
    """The first ten groups of them."""
    settings: tuple[DataSetting, ...]
    set: tuple[str, ...]
    """The same for a training, as `ocdnet plan --set` and `ocdnet train` take them."""
    fixed: MendedCopy | None = None
    html: str | None = None
    """The page that was written."""


@record
class SplitPart(Record):
    """A part of a set."""

    datalist: str
    images: Count
    words: Count
    empty_images: Count


@record
class DataSplit(Record):
    """Of `ocdnet data split`."""

    schema_version: SchemaVersion = 1
    out: str
    seed: Count
    train: SplitPart
    val: SplitPart
    alike_images: Count
    """Pictures that nearly are another one, which is in the same part."""
