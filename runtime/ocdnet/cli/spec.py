"""`ocdnet spec`: what a spec file may hold, and whether one is valid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocdnet.config.actions import ACTIONS
from ocdnet.errors import DataError, Exit, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN = 20
_LONGEST = 200


@click.group()
def spec() -> None:
    """Check experiment spec files."""


@spec.command()
@click.argument("action", type=click.Choice(list(ACTIONS)))
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.pass_context
def validate(context: click.Context, action: str, file: Path, overrides: tuple[str, ...]) -> None:
    """Check FILE, with the overrides applied, for ACTION.

    Prints one JSON object: ok, errors (key, code, message, got, expected, did_you_mean) and
    notices (what would be ignored or changed). Nothing is run and no path is opened.

    Exit codes: 0 valid; 3 invalid; 4 valid but for paths that are archives.

    Example: ocdnet spec validate train spec.yaml train.num_epochs=30
    """
    found, notices = _check(action, file, overrides)
    result: dict[str, Any] = {
        "ok": not found,
        "errors": [_row(error) for error in found[:_SHOWN]],
        "notices": notices,
    }
    if len(found) > _SHOWN:
        result["more_errors"] = len(found) - _SHOWN
    click.echo(json.dumps(result, indent=2))
    if found:
        only_data = all(isinstance(error, DataError) for error in found)
        context.exit(Exit.DATA if only_data else Exit.SPEC)


def _check(
    action: str, file: Path, overrides: Sequence[str]
) -> tuple[Sequence[UserError], list[str]]:
    from ocdnet.config.spec import check, read

    try:
        tree = read(file, overrides)
    except UserError as error:
        return [error], []
    loaded, found = check(action, tree)
    return found, loaded.notices if loaded else []


def _row(error: UserError) -> dict[str, Any]:
    return {
        "key": getattr(error, "key", None),
        "code": error.code,
        "message": error.message,
        "got": _bounded(error.got),
        "expected": error.expected,
        "did_you_mean": getattr(error, "did_you_mean", None),
    }


def _bounded(got: Any) -> Any:
    """A value short enough to print."""
    text = json.dumps(got, default=repr)
    return got if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
