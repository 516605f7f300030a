"""`ocdnet doctor`: what works on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

_MARKS = {True: "ok     ", False: "MISSING", None: "-      "}


@click.command(epilog="Example: ocdnet doctor")
def doctor() -> None:
    """Tell what works on this machine, and the command that fixes what does not.

    Prints one JSON object: ok, checks (name, ok: true, false, or null where there is nothing to
    fix; found, needed_for, mend: the shell command that fixes it), commands (which of them can
    run here) and actions (of each: runs, missing, mend). The exit code is 0, whatever the checks
    say.
    """
    from ocdnet.doctor.report import report

    document = report()
    for check in document["checks"]:
        _tell(check)
    for name, action in document["actions"].items():
        if not action["runs"]:
            lacks = ", ".join(action["missing"]) or "packages that this copy does not name"
            click.echo(f"-       {name} cannot run here: missing {lacks}", err=True)
    click.echo(json.dumps(document, indent=2))


def _tell(check: Mapping[str, Any]) -> None:
    click.echo(f"{_MARKS[check['ok']]} {check['name']}: {check['found']}", err=True)
    if check["mend"]:
        click.echo(f"        {check['mend']}", err=True)
