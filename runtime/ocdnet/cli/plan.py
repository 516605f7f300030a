"""`ocdnet plan`: from a request to a route, a complete spec and the commands."""

from __future__ import annotations

import dataclasses
import select
import sys
from typing import TYPE_CHECKING, Any

import click

from ocdnet.cli.completing import overrides_of
from ocdnet.errors import UsageError
from ocdnet.launch.platforms import LOCAL, PLATFORMS

if TYPE_CHECKING:
    from ocdnet.policy.request import Request

_WAIT = 5.0
"""Seconds that a request on stdin may take to begin."""
_PATH = "PATH"
_BESIDE_JSON = {"platform", "write", "full"}
_DEFAULTS = {"platform": LOCAL}

_EPILOG = """\b
Examples:
  ocdnet plan --action train --train-dataset words --write run1
  ocdnet plan --action train --request "no HPO" --train-dataset words
  ocdnet plan --action evaluate --parent results --eval-dataset words/test
  echo '{"action": "export", "parent": "results"}' | ocdnet plan

JSON keys: action, request, automl_policy, train_datasets, eval_datasets, inference_dataset,
calibration_datasets, parent, checkpoint, results_dir, set (keys and values), spec, platform,
trials, metric, precision, shards, image, claims, write, full."""


@click.command(epilog=_EPILOG)
@click.option("--action", help="What to do; needed. Without it, the error lists every action.")
@click.option("--request", "text", help="The user's words: do they turn AutoML off or on?")
@click.option("--automl-policy", metavar="on|off", help="Default: on for train, off for the rest.")
@click.option(
    "--train-dataset",
    "train_datasets",
    multiple=True,
    metavar=_PATH,
    help="Labelled images; a folder with train/ and test/ is both sets. Repeatable.",
)
@click.option("--eval-dataset", "eval_datasets", multiple=True, metavar=_PATH, help="Repeatable.")
@click.option("--inference-dataset", metavar=_PATH, help="Folder of images.")
@click.option(
    "--calibration-dataset",
    "calibration_datasets",
    multiple=True,
    metavar=_PATH,
    help="Folder of images; repeatable.",
)
@click.option("--parent", metavar="RESULTS_DIR", help="Results of the job whose model is used.")
@click.option("--checkpoint", metavar="best|latest|EPOCH", help="Which one; epochs from 1.")
@click.option("--results-dir", metavar=_PATH, help="Where to write; an earlier run is kept.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Repeatable; short: epochs=9.",
    shell_complete=overrides_of(),
)
@click.option("-e", "--spec", metavar="FILE", help="The user's own spec, to start from.")
@click.option("--platform", metavar="NAME", help=f"{', '.join(PLATFORMS)}.  [default: {LOCAL}]")
@click.option("--trials", type=int, metavar="N", help="Of an AutoML search.  [default: 10]")
@click.option("--metric", metavar="NAME", help="What judges trials: train_loss (default), hmean.")
@click.option("--precision", metavar="NAME", help="Engine: fp32, fp16, int8; train: or bf16.")
@click.option("--shards", type=int, metavar="N", help="Tasks of a cluster that share inference.")
@click.option("--image", help="Your own container image.")
@click.option("--claim", "claims", multiple=True, metavar="NAME:/PATH", help="Kubernetes volume.")
@click.option("--write", metavar="DIR", help="Write the spec, and scripts, to this folder.")
@click.option(
    "--estimate", is_flag=True, help="Time a few steps of training here: how long will it take?"
)
@click.option("--full", is_flag=True, help="Print the whole spec, too.")
def plan(*, estimate: bool, **flags: Any) -> None:
    """Plan a request: route, complete spec, commands, open questions. Launches nothing.

    But --estimate, which trains a few steps on this machine (half a minute) and keeps nothing.

    Without flags but --platform, --write and --full the request is read as JSON from stdin. Prints
    one JSON object; exits with 0 where questions are open, too: see
    `missing`.
    """
    from ocdnet.cli.shared import print_json, program
    from ocdnet.policy.artifacts import Skill, skill_dir
    from ocdnet.policy.plan import build
    from ocdnet.policy.request import Request, from_json, policy_value
    from ocdnet.runs.typed import to_json

    given = {
        name: value
        for name, value in flags.items()
        if value not in (None, ()) and value is not False
    }
    if "automl_policy" in given:
        given["automl_policy"] = policy_value(given["automl_policy"])
    if given.keys() <= _BESIDE_JSON:
        request = _with_flags(from_json(_stdin()), given)
    else:
        request = Request(**given)
    skill = Skill(skill_dir())
    if estimate:
        from ocdnet.cli.estimate import estimated

        document = estimated(request, skill, program())
    else:
        document = build(request, skill, program())
    print_json(to_json(document))


def _with_flags(request: Request, given: dict[str, Any]) -> Request:
    """A JSON request with the flags beside it.

    Raises:
        UsageError: both say something, and not the same.
    """
    for name, value in given.items():
        said = getattr(request, name)
        if said not in (None, False, value, _DEFAULTS.get(name)):
            raise UsageError(
                "contradiction",
                f"--{name} and the JSON request differ",
                got=f"{value} and {said}",
                expected="one of them",
            )
    return dataclasses.replace(request, **given)


def _stdin() -> bytes:
    """The request on stdin: of a terminal or an idle pipe none is awaited."""
    from ocdnet.policy.request import MAX_JSON

    stream = sys.stdin.buffer
    if not sys.stdin.isatty() and _readable():
        data = stream.read(MAX_JSON + 1)
        if data.strip():
            return data
    raise UsageError(
        "no-request",
        "There is no request: no flag, and no JSON on stdin",
        expected="flags, or a JSON object on stdin",
        hint="See `ocdnet plan --help`.",
    )


def _readable() -> bool:
    try:
        return bool(select.select([sys.stdin], [], [], _WAIT)[0])
    except (OSError, ValueError):  # a file on Windows, a closed stream
        return True
