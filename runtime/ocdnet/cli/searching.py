"""Runs a search for the command line."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ocdnet.automl.search import run
from ocdnet.automl.space import space
from ocdnet.automl.study import NAME, Search
from ocdnet.catalogue import SEARCH
from ocdnet.cli.running import log_to_stderr, write_page
from ocdnet.config import spec
from ocdnet.errors import EnvironmentFault, SpecError, UsageError
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.policy.routing import RECOMMENDATIONS
from ocdnet.runs.files import RESULTS
from ocdnet.runs.names import Metric, Pruner, Sampler
from ocdnet.runs.searches import SearchResult
from ocdnet.spec_keys import VALIDATE_DATA

LOG = logging.getLogger("ocdnet")


def run_search(
    spec_file: Path,
    overrides: Sequence[str],
    *,
    trials: int | None,
    epochs: int | None,
    minutes: float | None,
    metric: Metric,
    asked: Sequence[str],
    fixed: Sequence[str],
    sampler: Sampler,
    pruner: Pruner,
    workers: int,
    storage: str | None,
    study: str | None,
) -> SearchResult:
    """Check what is asked for, search, and write the report.

    Raises:
        UserError: as `ocdnet.automl.search.run`; or the spec, a key or an option is wrong.
    """
    log_to_stderr()
    if (storage is None) != (study is None):
        raise UsageError(
            "study-without-storage",
            "--storage and --study go together",
            expected="a database's URL, and the search's name in it",
            hint="Without both the search keeps its own journal.",
        )
    tree = _base(spec_file, overrides, metric)
    search = Search(
        tree=tree,
        # Absolute: the same search may be taken up from another folder.
        folder=Path(os.path.abspath(tree["results_dir"])) / SEARCH,  # noqa: PTH100 - resolve() follows links
        metric=metric,
        parameters=space(Skill(skill_dir()).schema("train"), tree, metric, asked, fixed),
        asked=asked,
        fixed=fixed,
        trials=RECOMMENDATIONS if (trials, epochs, minutes) == (None, None, None) else trials,
        epochs=epochs,
        minutes=minutes,
        sampler=sampler,
        pruner=pruner,
        workers=workers,
        storage=storage,
        study=study or NAME,
    )
    signal.signal(signal.SIGTERM, _interrupt)
    with contextlib.redirect_stdout(sys.stderr):
        try:
            return run(search, _gpus(workers))
        finally:
            if (search.folder / RESULTS).is_file():
                write_page(search.folder)


def _interrupt(*_: object) -> NoReturn:
    """A scheduler's word is Ctrl-C's; said twice, it must not cut off the end of the trainings."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _base(spec_file: Path, overrides: Sequence[str], metric: str) -> dict[str, Any]:
    """The complete, checked spec that every trial starts from."""
    loaded = spec.load("train", spec_file, overrides)
    for notice in loaded.notices:
        LOG.warning(notice)
    spec.results_dir(loaded.experiment, "train")  # or it says what is missing
    tree = spec.dump(loaded)
    train = tree["train"]
    for key, why in (
        ("resume_training_checkpoint_path", "every trial starts anew"),
        ("is_dry_run", "a dry run trains nothing"),
    ):
        if train[key]:
            raise SpecError(
                "conflict",
                f"'train.{key}' has no place in a search: {why}",
                got=train[key],
                hint=f"Remove it: train.{key}={'' if isinstance(train[key], str) else 'false'}",
            )
    if not tree["results_dir"]:
        raise SpecError(
            "missing-value",
            "A search needs 'results_dir': each trial has its own folder below it",
            hint="Add results_dir=/path/to/results",
        )
    train["results_dir"] = ""
    if metric == "hmean" and not tree["dataset"]["validate_dataset"]["data_path"]:
        raise SpecError(
            "missing-value",
            f"Metric hmean needs {VALIDATE_DATA!r}: it is measured on labelled images",
            hint=f"Add {VALIDATE_DATA}=[/path/to/it], or search with --metric train_loss.",
        )
    return tree


def _gpus(workers: int) -> list[str]:
    """The GPU of each worker, as CUDA_VISIBLE_DEVICES names it; none where there is one worker.

    Raises:
        EnvironmentFault: more workers than GPUs.
    """
    if workers == 1:
        return []
    import torch

    present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not present:
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    ids = named.split(",") if named else [str(at) for at in range(present)]
    if workers > present:
        raise EnvironmentFault(
            "no-such-gpu",
            "There are more workers than GPUs, and each needs one of its own",
            got=f"--workers {workers}",
            expected=f"at most {present}",
        )
    return ids[:workers]
