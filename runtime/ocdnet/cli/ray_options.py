"""The options of `ocdnet predict`, `inference` and `evaluate` that bring them to a Ray cluster."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocdnet.catalogue_entry import Action
from ocdnet.errors import Interrupted, UsageError
from ocdnet.install import require

if TYPE_CHECKING:
    from ocdnet.runs.typed import Result
    from ocdnet.scale.work import Runner

_OPTIONS = (
    click.option(
        "--runner",
        type=click.Choice(("local", "ray")),
        default="local",
        show_default=True,
        help="ray: data and model may be URIs, and other machines help.",
    ),
    click.option("--address", metavar="ADDRESS", help="A Ray cluster.  [default: this machine]"),
    click.option(
        "--actors",
        type=click.IntRange(min=1),
        help="Ray's processes.  [default: as many as find room]",
    ),
)
_OF_PARTS = (
    click.option(
        "--format",
        "kind",
        type=click.Choice(("parquet", "jsonl")),
        help="Of Ray's parts.  [default: parquet]",
    ),
    click.option(
        "--partition-size",
        type=click.IntRange(min=1),
        help="Images of a part, at most.  [default: 1000]",
    ),
)
_NAMES = {
    "address": "--address",
    "actors": "--actors",
    "kind": "--format",
    "partition_size": "--partition-size",
}


def ray_options(
    has_them: bool = True, parts: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add them to a command that has them, with those of parts where it writes parts."""
    options = (*_OPTIONS, *(_OF_PARTS if parts else ())) if has_them else ()

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def is_ray(options: dict[str, Any]) -> bool:
    """Whether Ray is to run it; else its options are taken out, and none may be given.

    Raises:
        UsageError: one is given without --runner ray.
    """
    if options["runner"] == "ray":
        return True
    del options["runner"]
    for name, option in _NAMES.items():
        if options.pop(name, None) is not None:
            raise UsageError("needs-ray", f"{option} is Ray's", hint="Add --runner ray.")
    return False


def run_spec_on_ray(
    action: Action, spec_file: Path, overrides: Sequence[str], options: dict[str, Any]
) -> Result:
    """What an action's spec came to on the cluster that the options name."""
    from ocdnet.cli.running import reported
    from ocdnet.config import spec

    def run(runner: Runner, values: dict[str, Any]) -> Result:
        loaded = spec.load(action.name, spec_file, overrides)
        module, _, function = action.ray.partition(":")
        with reported(action, loaded) if action.page else contextlib.nullcontext():
            result: Result = getattr(import_module(module), function)(loaded, runner, **values)
        return result

    return run_on_ray(options, run)


def run_on_ray(options: dict[str, Any], run: Callable[[Runner, dict[str, Any]], Result]) -> Result:
    """What something came to on the cluster that the options name.

    Args:
        options: these options, by name; they are taken out.
        run: does it with a runner, and with what the options say of the results.

    Raises:
        EnvironmentFault: Ray is not installed.
        UserError: as `run`.
    """
    from ocdnet.cli.running import log_to_stderr
    from ocdnet.findings import collecting, say

    for package in ("ray", "pyarrow", "fsspec"):
        require(package, f"--runner ray needs the package {package}", "ray")
    log_to_stderr()
    del options["runner"]
    address, actors = options.pop("address"), options.pop("actors")
    parts = "partition_size" in options
    given = {name: options.pop(name, None) for name in ("kind", "partition_size")}
    if address or os.environ.get("RAY_ADDRESS"):  # of one that is wrong 20 tries take 14 minutes
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")
    with contextlib.redirect_stdout(sys.stderr), collecting() as findings:
        from ocdnet.scale import cluster

        runner = partial(cluster.run, cluster=cluster.Cluster(address, actors))
        try:
            return run(runner, {name: value for name, value in given.items() if value is not None})
        except KeyboardInterrupt as error:
            kept = ": parts that are there are not done again" if parts else ""
            hint = f"Run it again{kept}."
            raise Interrupted("interrupted", "Interrupted", hint=hint) from error
        finally:
            say(findings)
