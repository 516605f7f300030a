"""`ocdnet automl`: a hyperparameter search on this machine, or with others."""

from __future__ import annotations

from typing import Any

import click

from ocdnet.cli.completing import keys_of, overrides_of
from ocdnet.cli.shared import spec_file_option
from ocdnet.runs.names import DEFAULT_METRIC, METRIC_NAMES, PRUNERS, SAMPLERS
from ocdnet.runs.typed import to_json

_EPILOG = """\b
Examples:
  ocdnet automl -e spec.yaml --trials 20
  ocdnet automl -e spec.yaml --minutes 480 --search train.loss.alpha
  ocdnet automl -e spec.yaml --workers 4       # a GPU for each worker
  ocdnet automl -e spec.yaml --study words \\
    --storage postgresql+psycopg://user@host/automl  # on every machine

The first trial is the spec as it is. Whether a key is searched, and where: `ocdnet spec explain
KEY`. The same command again goes on with a search that was killed, or joins one that is at work;
finished trials are never repeated.

Writes RESULTS_DIR/automl/: trial_<NNN>/ (a training each), model_best.pth (link to the best
trial's), best_spec.yaml, results.json, status.json, report.html. `ocdnet status`, `ocdnet next` and
`ocdnet report` know them.

Exit codes: as of train. 0: the budget is spent, or trials run elsewhere still (states.running)."""


@click.command(epilog=_EPILOG)
@spec_file_option("A train spec: what every trial starts from.")
@click.option(
    "--trials",
    type=click.IntRange(1),
    help="Trials in all.  [default: 10, where no other limit is given]",
)
@click.option("--epochs", type=click.IntRange(1), help="Epochs of all trials together.")
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    help="Time of this command; trials still running then are ended, and do not count as whole.",
)
@click.option(
    "--metric",
    type=click.Choice(list(METRIC_NAMES)),
    callback=lambda _context, _option, name: METRIC_NAMES[name],
    default=DEFAULT_METRIC,
    show_default=True,
    help="train_loss is minimized, hmean maximized.",
)
@click.option(
    "--search",
    "asked",
    multiple=True,
    metavar="KEY",
    help="Also search this key; repeatable.",
    shell_complete=keys_of("train"),
)
@click.option(
    "--fix",
    "fixed",
    multiple=True,
    metavar="KEY",
    help="Leave this key as it is; repeatable.",
    shell_complete=keys_of("train"),
)
@click.option(
    "--sampler",
    type=click.Choice(SAMPLERS),
    default=SAMPLERS[0],
    show_default=True,
    help="Where values come from.",
)
@click.option(
    "--pruner",
    type=click.Choice(PRUNERS),
    default=PRUNERS[0],
    show_default=True,
    help="What ends trials that are behind.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Trials at a time here; with GPUs each has one of its own.",
)
@click.option(
    "--storage",
    envvar="OCDNET_AUTOML_STORAGE",
    metavar="URL",
    help="Database that several machines share (or OCDNET_AUTOML_STORAGE).  "
    "[default: a journal in the results]",
)
@click.option("--study", metavar="NAME", help="Name of the search in that database.")
@click.argument(
    "overrides", nargs=-1, metavar="[KEY=VALUE]...", shell_complete=overrides_of("train")
)
def automl(**given: Any) -> None:
    """Search for better hyperparameters: each trial is a training of its own.

    Overrides are dotted spec keys with YAML values, as for train.
    """
    from ocdnet.cli.searching import run_search
    from ocdnet.cli.shared import print_json

    print_json(to_json(run_search(**given)))
