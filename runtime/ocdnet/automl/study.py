"""The Optuna study behind a search: where it is kept, and which trials of it count."""

from __future__ import annotations

import fcntl
import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner, SuccessiveHalvingPruner
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import IntegrityError, ProgrammingError

from ocdnet.automl.sampler import SeededSampler
from ocdnet.automl.space import Parameter
from ocdnet.errors import EnvironmentFault, SpecError, UserError
from ocdnet.files import disk_full, os_fault
from ocdnet.runs.files import EXPERIMENT
from ocdnet.runs.names import (
    DIRECTIONS,
    PRUNERS,
    SAMPLERS,
    Direction,
    Metric,
    Pruner,
    Sampler,
    rank,
)
from ocdnet.tree import keys

JOURNAL = "study.journal"
NAME = "ocdnet"
"""Name of a study that has its journal to itself."""
BASELINE, CONTINUES, SURPLUS = "baseline", "continues", "surplus"
"""Attributes of trials: the spec as given; the trial whose work is taken up; not to be counted."""
_UNTRAINED = (TrialState.FAIL, TrialState.WAITING)
DONE = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
_FACTOR = 3
_MADE_WITH = "made_with"
_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched, by what, for how long.

    Attributes:
        tree: the complete spec that every trial starts from.
        folder: where the search writes.
        metric: what judges trials.
        parameters: what is varied.
        asked: those of them that the user named.
        fixed: what the user wants left as it is.
        trials: how many, at most; None: no limit.
        epochs: of all trials together, at most.
        minutes: that this process searches, at most.
        sampler: where values come from.
        pruner: what ends trials that are behind.
        workers: trials at a time in this process.
        storage: URL of a database; None: a journal in the folder.
        study: name in the database.
    """

    tree: Mapping[str, Any]
    folder: Path
    metric: Metric
    parameters: list[Parameter] = field(repr=False)
    asked: Sequence[str] = ()
    fixed: Sequence[str] = ()
    trials: int | None
    epochs: int | None = None
    minutes: float | None = None
    sampler: Sampler = SAMPLERS[0]
    pruner: Pruner = PRUNERS[0]
    workers: int = 1
    storage: str | None = None
    study: str = NAME

    @property
    def direction(self) -> Direction:
        """Of the metric."""
        return DIRECTIONS[self.metric]

    @property
    def spec_file(self) -> Path:
        """The resolved spec that every trial starts from."""
        return self.folder / EXPERIMENT

    @property
    def num_epochs(self) -> int:
        """Epochs of a whole trial."""
        return int(self.tree["train"]["num_epochs"])


def open_study(search: Search) -> Study:
    """Make the study, with a first trial of the spec as it is; or join the one that is there.

    Raises:
        SpecError: the study there searches something else.
        EnvironmentFault: the database can't be reached, or its driver is missing.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # It warns that few trials tell little; the report says how many there are.
    warnings.filterwarnings("ignore", module=r"optuna\.importance")
    sampler = SeededSampler(
        tpe=search.sampler == "tpe",
        seed=max(0, int(search.tree["train"]["seed"])),
        weights={p.key: p.weights for p in search.parameters if p.weights},
    )
    pruner = _pruner(search)
    with exclusive(search.folder):
        storage = _storage(search)
        name = search.study

        def create() -> Study:
            return optuna.create_study(
                storage=storage,
                study_name=name,
                direction=search.direction,
                sampler=sampler,
                pruner=pruner,
            )

        try:
            study = create()
        except optuna.exceptions.DuplicatedStudyError:
            study = optuna.load_study(
                study_name=name, storage=storage, sampler=sampler, pruner=pruner
            )
            change = _change(study, search)
            if change is None:
                return study
            if any(t.state not in _UNTRAINED for t in study.get_trials(deepcopy=False)):
                raise _another_search(search, *change) from None
            # Its first trial failed, and the user has corrected the spec.
            optuna.delete_study(study_name=name, storage=storage)
            study = create()
        _enqueue_baseline(study, search)
        study.set_user_attr(_MADE_WITH, _made_with(search))
    return study


def counted(study: Study) -> list[FrozenTrial]:
    """The trials that a budget counts, in order: not what was withdrawn or taken up by another."""
    trials = study.get_trials(deepcopy=False)
    taken_up = {trial.user_attrs.get(CONTINUES) for trial in trials}
    return [
        trial
        for trial in trials
        if not trial.user_attrs.get(SURPLUS) and trial.number not in taken_up
    ]


def epochs_of(trials: Sequence[FrozenTrial]) -> int:
    """Epochs that trials have trained."""
    return sum(int(trial.user_attrs.get("epochs", 0)) for trial in trials)


def best(trials: Sequence[FrozenTrial], search: Search) -> FrozenTrial | None:
    """The whole trial with the best value, of equal ones that with the lowest last train_loss."""

    def order(trial: FrozenTrial) -> tuple[float, float]:
        kpis = trial.user_attrs.get("kpis") or {}
        return rank(search.metric, trial.value or 0.0, kpis.get("train_loss"))

    whole = [t for t in trials if t.state == TrialState.COMPLETE and t.value is not None]
    return max(whole, key=order, default=None)


def _enqueue_baseline(study: Study, search: Search) -> None:
    """The spec as it is comes first. What of it lies outside of the ranges is no draw of theirs."""
    given = {p.key: p.stored(keys.get(search.tree, p.key)) for p in search.parameters}
    inside = {key: value for key, value in given.items() if value is not None}
    study.enqueue_trial(inside, user_attrs={BASELINE: True})


def _pruner(search: Search) -> BasePruner:
    """Ends a trial that is behind the others at the same epoch, after warm-up at the earliest."""
    train = search.tree["train"]
    every = int(train["validation_interval"]) if search.metric == "hmean" else 1
    warm = int(train["lr_scheduler"]["args"]["warmup_epoch"]) + 1
    first = max(1, min(-(-warm // every) * every, search.num_epochs))
    if search.pruner == "asha":
        return SuccessiveHalvingPruner(min_resource=first, reduction_factor=_FACTOR)
    if search.pruner == "hyperband":
        return HyperbandPruner(
            min_resource=first, max_resource=search.num_epochs, reduction_factor=_FACTOR
        )
    return NopPruner()


def _storage(search: Search) -> BaseStorage:
    if search.storage is None:
        return JournalStorage(JournalFileBackend(str(search.folder / JOURNAL)))
    try:
        return _database(search.storage)
    except ImportError as error:
        raise EnvironmentFault(
            "missing-driver",
            f"The driver of this database is not installed: {error.name or error}",
            got=masked(search.storage),
            hint="For PostgreSQL: pip install 'psycopg[binary]', and a URL postgresql+psycopg://",
        ) from error
    except Exception as error:
        fault = storage_fault(error, search)
        if fault is None:
            raise
        raise fault from error


def _database(url: str) -> RDBStorage:
    """The database with Optuna's tables, which another process may be making just now."""
    end = time.monotonic() + _SECONDS
    while True:
        try:
            return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
        except (IntegrityError, ProgrammingError):
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def storage_fault(error: BaseException, search: Search) -> UserError | None:
    """The user's view of a database that cannot be used; None where the error is another."""
    full = disk_full(error)
    if full is not None:
        return full
    url = search.storage
    if url is None or not type(error).__module__.startswith(("sqlalchemy", "optuna")):
        return None
    return EnvironmentFault(
        "no-storage",
        "The study's database can't be used",
        got=masked(url),
        expected="a URL of SQLAlchemy, e.g. postgresql+psycopg://user@host/name",
        hint=str(error).strip().splitlines()[0][:200].replace(url, masked(url)),
    )


def masked(url: str) -> str:
    """A database's URL without its password."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


def _made_with(search: Search) -> dict[str, Any]:
    """What all who join a study must agree on."""
    own = {"results_dir", "encryption_key"}
    return {
        "metric": search.metric,
        "searched": sorted(parameter.key for parameter in search.parameters),
        **{key: value for key, value in search.tree.items() if key not in own},
    }


def _change(study: Study, search: Search) -> tuple[str, Any, Any] | None:
    """The first key in which a search differs from what a study was made with, then and now."""
    end = time.monotonic() + _SECONDS
    while (then := study.user_attrs.get(_MADE_WITH)) is None and time.monotonic() < end:
        time.sleep(0.2)  # whoever made it is about to say with what
    return next(_differing(then or {}, _made_with(search)), None)


def _another_search(search: Search, key: str, before: Any, now: Any) -> SpecError:
    return SpecError(
        "another-search",
        f"The study in {masked(search.storage) if search.storage else search.folder} was made "
        f"with another {key}",
        got=now,
        expected=before,
        hint="Go on with what it was made with, or search anew in another results_dir"
        + (" and --study." if search.storage else "."),
    )


def _differing(then: Any, now: Any, at: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Key, value before and value now of what is not the same in two trees."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in [*then, *(key for key in now if key not in then)]:
            yield from _differing(then.get(key), now.get(key), f"{at}.{key}" if at else key)
    elif then != now:
        yield at, then, now


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Let the threads and processes that share a disk do this one after another."""
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        raise os_fault(error, path) from error
    with file:
        yield
