"""`ocdnet spec`: what a spec file may hold, whether one is valid, and writing one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocdnet.catalogue import ACTIONS
from ocdnet.cli import completing
from ocdnet.cli.help import Group
from ocdnet.errors import DataError, Exit, SpecError, UserError
from ocdnet.spec_keys import masked
from ocdnet.tree import keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHOWN = 20
_LONGEST = 200
_ACTION = click.argument("action", type=click.Choice(list(ACTIONS)), metavar="ACTION")
_ACTIONS = f"ACTION is one of {', '.join(ACTIONS)}."


@click.group(cls=Group)
def spec() -> None:
    """List, explain, write and check experiment specs."""


@spec.command("list", epilog=f"{_ACTIONS}\n\nExample: ocdnet spec list train --grep batch")
@_ACTION
@click.option("--popular", "which", flag_value="popular", default=True, help="The default.")
@click.option("--all", "which", flag_value="all", help="Every key: default, choices or bounds.")
@click.option("--grep", metavar="TEXT", help="Keys with TEXT in their name or description.")
def list_keys(action: str, which: str, grep: str | None) -> None:
    """List the keys that ACTION reads: what is required and what is often changed.

    Prints one JSON object; `keys` holds a line a key: `KEY = DEFAULT: what it does`.
    """
    from ocdnet.config import explain

    entry = ACTIONS[action]
    whole = grep or which == "all"
    shown = explain.keys_of(entry) if whole else explain.popular_keys_of(entry)
    if grep:
        shown = {
            k: n for k, n in shown.items() if grep.lower() in f"{k} {n['description']}".lower()
        }
    write = explain.short_line if which == "all" and not grep else explain.line
    lines = [write(key, node, entry) for key, node in shown.items()]
    _print({"action": action, "keys": lines})


@spec.command(epilog="Example: ocdnet spec explain train.optimizer.args.lr model.backbone")
@click.argument(
    "names", nargs=-1, required=True, metavar="KEY...", shell_complete=completing.every_key
)
def explain(names: tuple[str, ...]) -> None:
    """Tell what each KEY takes and does, who reads it, and whether a search may vary it.

    Of a section, its keys. Prints one JSON object: {"keys": [...]}.
    """
    from ocdnet.config.explain import explain as explained

    _print({"keys": [explained(key) for key in names]})


@spec.command(
    epilog=f"{_ACTIONS}\n\n\b\n"
    "Example: ocdnet spec render train --set train.num_epochs=30 --out spec.yaml"
)
@_ACTION
@click.option("-e", "--from", "base", type=click.Path(path_type=Path), help="Spec to start from.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="May be repeated.",
    shell_complete=completing.overrides_of(),
)
@click.option(
    "--target",
    type=click.Choice(["ocdnet", "tao"]),
    default="ocdnet",
    show_default=True,
    help="tao: for NVIDIA's own image, with TAO's keys and values only.",
)
@click.option("--full", is_flag=True, help="Print the whole spec, too.")
@click.option("--out", type=click.Path(path_type=Path), help="File to write; it may not exist.")
def render(
    *,
    action: str,
    base: Path | None,
    overrides: tuple[str, ...],
    target: str,
    full: bool,
    out: Path | None,
) -> None:
    """Write the complete spec of ACTION: every key it reads, defaults included.

    Prints one JSON object: the file written, `set` (what differs from the defaults), `missing`
    (keys that stay ??? or empty and need a value), notices. Exits with 3, and writes nothing,
    where the spec is invalid or the target cannot run it.
    """
    tree, result = _rendered(action, base, overrides, target)
    if out is not None:
        _write(out, tree)
    written = {"file": None if out is None else str(out)}
    _print(written | result | ({"spec": masked(tree)} if full else {}))


def _rendered(
    action: str, base: Path | None, overrides: Sequence[str], target: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    from ocdnet.config import schema
    from ocdnet.config import spec as specs
    from ocdnet.launch.tao_image import rendered

    given = specs.read(base, overrides, action)
    loaded, problems = specs.check(action, given, base)
    for problem in problems:
        if problem.code != "missing-value":
            raise problem
    tree, notices = specs.completed(action, given), loaded.notices if loaded else []
    if target == "tao":
        changed, notices = rendered(tree, schema.extras())
        for key, text in specs.kept_references(given, changed).items():
            if keys.get(changed, key) == keys.get(tree, key):
                keys.set(changed, key, text)
        tree = changed
    return tree, {
        "set": masked(specs.changed(action, tree)),
        "missing": [problem.key for problem in problems],
        "notices": notices,
    }


def _write(out: Path, tree: Mapping[str, Any]) -> None:
    from ocdnet.config.spec import to_yaml
    from ocdnet.files import write_text

    if out.exists():
        raise SpecError(
            "file-exists",
            f"{out} exists, and is not written over",
            expected="a new file",
            hint="Choose another name with --out, or remove it.",
        )
    write_text(out, to_yaml(tree))


@spec.command(
    epilog=f"{_ACTIONS}\n\nExample: ocdnet spec validate train spec.yaml train.num_epochs=30"
)
@_ACTION
@click.argument("file", type=click.Path(path_type=Path))
@click.argument(
    "overrides",
    nargs=-1,
    metavar="[KEY=VALUE]...",
    shell_complete=completing.overrides_of(),
)
@click.pass_context
def validate(context: click.Context, action: str, file: Path, overrides: tuple[str, ...]) -> None:
    """Check FILE, with the overrides applied, for ACTION.

    Prints one JSON object: ok, errors (key, code, message, got, expected, did_you_mean) and
    notices (what would be ignored or changed). Nothing is run and no path is opened.

    Exit codes: 0 valid; 3 invalid; 4 valid but for paths that are archives.
    """
    errors, notices = _check(action, file, overrides)
    result: dict[str, Any] = {
        "ok": not errors,
        "errors": [_row(error) for error in errors[:_SHOWN]],
        "notices": notices,
    }
    if len(errors) > _SHOWN:
        result["more_errors"] = len(errors) - _SHOWN
    _print(result)
    if errors:
        only_data = all(isinstance(error, DataError) for error in errors)
        context.exit(Exit.DATA if only_data else Exit.SPEC)


def _check(
    action: str, file: Path, overrides: Sequence[str]
) -> tuple[Sequence[UserError], list[str]]:
    from ocdnet.config.spec import check, read

    try:
        tree = read(file, overrides, action)
    except UserError as error:
        return [error], []
    loaded, problems = check(action, tree, file)
    return problems, loaded.notices if loaded else []


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


def _print(document: Mapping[str, Any]) -> None:
    click.echo(json.dumps(document, indent=2, allow_nan=False))
