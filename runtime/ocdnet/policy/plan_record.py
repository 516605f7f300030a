"""What `ocdnet plan` prints; schemas/plan.schema.json is generated from these records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from ocdnet.catalogue import PLANNED
from ocdnet.runs.names import Direction, LogAlias, Metric
from ocdnet.runs.typed import Bounds, Pattern, Record, SchemaVersion, Size, record

Seconds = Annotated[float, Bounds(minimum=0)]
Lines = tuple[Annotated[str, Size(least=1)], ...]


@record
class Budget(Record):
    """How long a search may take."""

    algorithm: Literal["bayesian"] | None = None
    """For `skill`."""

    automl_max_recommendations: Annotated[int, Bounds(minimum=1)]
    """Trials, at most."""

    epochs_each: Annotated[int, Bounds(minimum=1)]
    """Epochs of a trial."""


@record
class ParameterRange(Record):
    """Where a parameter is searched, in the client's own words."""

    valid_min: float | tuple[float, ...] | None = None
    """Lower end. The client samples between ends that are lists of one number on a log scale."""

    valid_max: float | tuple[float, ...] | None = None
    """Upper end; a list as `valid_min` is one."""

    disable_list: Literal[True] | None = None
    """Beside ends that are lists: the value itself is a number."""

    valid_options: Annotated[tuple[Any, ...], Size(least=1)] | None = None


@record
class DirectRoute(Record):
    """A direct run."""

    kind: Literal["direct"] = "direct"


@record
class AutomlRoute(Record):
    """A search by AutoML."""

    kind: Literal["automl"] = "automl"

    runner: Literal["ocdnet automl", "skill"]
    """What runs the search: the plan's commands (`ocdnet automl`), or `skill`, invoked with
    everything here."""

    skill: str | None = None
    """NVIDIA's AutoML skill; this, and what else is for it, where it runs the search or --full."""

    skill_dir: str | None = None
    """This skill's folder, which that skill reads."""

    metric: Metric
    """What the search optimises."""

    log_alias: LogAlias | None = None
    """The metric's name in the training log."""

    direction: Direction

    monitor: Literal["hmean"]
    """What validates the selected checkpoint."""

    budget: Budget

    custom_param_ranges: Mapping[str, ParameterRange] | None = None
    """What is searched, in which range, in the client's own form: for `skill`, and with --full."""

    skill_found_at: str | None = None
    """Where that skill was found; absent: in none of the usual folders."""

    install: str | None = None
    """How to get it."""

    or_direct: str | None = None
    """The command that plans the same run without AutoML."""


@record
class Extraction(Record):
    """An archive to unpack, or a URI to fetch, first."""

    archive: str
    """The archive, or the URI."""

    to: str
    """Folder that the spec names instead."""

    command: str


@record
class Outputs(Record):
    """What will be there afterwards."""

    folder: str

    files: Annotated[tuple[str, ...], Size(least=1)]


@record
class Estimate(Record):
    """How long it takes, by a few steps timed on this machine."""

    step_seconds: Seconds

    epoch_seconds: Seconds
    """Training and validation."""

    run_seconds: Seconds
    """Of one training to its end."""

    total_seconds: Seconds
    """Of all trials one after the other, none ended early."""

    in_words: str


@record
class BetterStart(Record):
    """Public weights that a training of few images had better start from."""

    set: Annotated[tuple[str, ...], Size(least=1)]
    """What takes them, each after --set of a new plan."""

    needs_internet: Literal[True] = True
    """The file is fetched once, where the run starts."""


@record
class Missing(Record):
    """A question to ask the user."""

    about: str
    """The flag or spec key that answers it."""

    question: str

    blocking: bool
    """Whether the plan can't run before it is answered."""


@record
class Plan(Record):
    """How a request will be run."""

    schema_version: SchemaVersion = 1

    action: Annotated[str, Pattern(f"^({'|'.join(PLANNED)})$")]
    """What will be done."""

    summary: Annotated[str, Size(least=1)]
    """One sentence for the user to confirm."""

    route: DirectRoute | AutomlRoute
    """A search by AutoML, or a direct run."""

    why: Annotated[tuple[str, ...], Size(least=1)]
    """Each rule that decided something, a sentence each; with --full all, else at most eight."""

    spec_overrides: Mapping[Annotated[str, Pattern(r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$")], Any]
    """Every key that differs from the action's template, dotted; always all of them."""

    spec_file: str | None = None
    """The complete spec as a file; absent without --write, and while a question blocks."""

    spec: Mapping[str, Any] | None = None
    """The complete spec, with --full."""

    extract: tuple[Extraction, ...] | None = None
    """Archives to unpack, and URIs to fetch, first; absent for none."""

    image: str | None = None
    """Container image that the commands run; absent for none."""

    commands: Lines
    """Shell lines that do it, in this order, after `extract`."""

    files: tuple[str, ...] | None = None
    """Every file written by --write; absent for none."""

    outputs: Outputs
    """What will be there afterwards."""

    estimate: Estimate | None = None
    """With --estimate: how long it takes, by a few steps timed on this machine."""

    better_start: BetterStart | None = None
    """Of few images, and a network that the user has not chosen: public weights to offer
    (references/weights.md)."""

    warnings: tuple[str, ...]
    """What was changed, or may surprise."""

    missing: tuple[Missing, ...]
    """Questions to ask the user."""

    @property
    def blocked(self) -> bool:
        """Whether a question must be answered before it can be run."""
        return any(question.blocking for question in self.missing)
