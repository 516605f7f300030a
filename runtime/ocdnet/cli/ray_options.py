"""The options of `ocdnet predict` and `ocdnet inference` that bring them to a Ray cluster."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocdnet.catalogue_entry import Action
from ocdnet.errors import UsageError
from ocdnet.install import require

if TYPE_CHECKING:
    from ocdnet.runs.typed import Result
    from ocdnet.scale.detect import Request

_OPTIONS = (
    click.option(
        "--runner",
        type=click.Choice(("local", "ray")),
        default="local",
        show_default=True,
        help="ray: SOURCEs, results and model may be URIs; results are parts.",
    ),
    click.option("--address", metavar="ADDRESS", help="A Ray cluster.  [default: this machine]"),
    click.option(
        "--actors",
        type=click.IntRange(min=1),
        help="Ray's processes.  [default: as many as find room]",
    ),
    click.option(
        "--format",
        type=click.Choice(("parquet", "jsonl")),
        help="Of Ray's parts. [default: parquet]",
    ),
    click.option(
        "--partition-size",
        type=click.IntRange(min=1),
        help="Images of a part, at most.  [default: 1000]",
    ),
)


def ray_options(has_them: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add them to a command that has them."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(_OPTIONS) if has_them else ():
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
    for name in ("address", "actors", "format", "partition_size"):
        if options.pop(name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise UsageError("needs-ray", f"{option} is Ray's", hint="Add --runner ray.")
    return False


def run_spec_on_ray(
    action: Action, spec_file: Path, overrides: Sequence[str], options: dict[str, Any]
) -> Result:
    """What an action's spec came to on the cluster that the options name."""
    from ocdnet.config import spec

    def request(values: dict[str, Any]) -> Request:
        loaded = spec.load(action.name, spec_file, overrides)
        module, _, function = action.ray.partition(":")
        made: Request = getattr(import_module(module), function)(loaded, **values)
        return made

    return run_on_ray(options, request)


def run_on_ray(options: dict[str, Any], request: Callable[[dict[str, Any]], Request]) -> Result:
    """What a request came to on the cluster that the options name.

    Args:
        options: these options, by name; they are taken out.
        request: makes it, with what the options say of the results.

    Raises:
        EnvironmentFault: Ray is not installed.
        UserError: as `scale.detect.run`.
    """
    from ocdnet.cli.running import log_to_stderr
    from ocdnet.findings import collecting, say

    for package in ("ray", "pyarrow", "fsspec"):
        require(package, f"--runner ray needs the package {package}", "ray")
    log_to_stderr()
    del options["runner"]
    address, actors = options.pop("address"), options.pop("actors")
    kind, size = options.pop("format") or "parquet", options.pop("partition_size") or 1000
    with contextlib.redirect_stdout(sys.stderr), collecting() as findings:
        from ocdnet.scale.cluster import Cluster
        from ocdnet.scale.cluster import run as runner
        from ocdnet.scale.detect import run

        asked = request({"kind": kind, "partition_size": size})
        try:
            return run(asked, findings, partial(runner, cluster=Cluster(address, actors)))
        finally:
            say(findings)
