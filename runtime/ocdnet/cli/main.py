"""The `ocdnet` command: JSON on stdout, progress on stderr, one exit code a kind of failure."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ocdnet.catalogue import ACTIONS
from ocdnet.catalogue_entry import Action
from ocdnet.cli.automl import automl
from ocdnet.cli.completing import overrides_of
from ocdnet.cli.data import data
from ocdnet.cli.doctor import doctor
from ocdnet.cli.help import ActionCommand, Group
from ocdnet.cli.merge import merge
from ocdnet.cli.optimize import optimize
from ocdnet.cli.plan import plan
from ocdnet.cli.predict import predict
from ocdnet.cli.ray_options import is_ray, ray_options, run_spec_on_ray
from ocdnet.cli.report import report
from ocdnet.cli.results import next_, status
from ocdnet.cli.serve import serve
from ocdnet.cli.shared import print_json, program, spec_file_option
from ocdnet.cli.spec import spec
from ocdnet.cli.tune import tune
from ocdnet.cli.view import view
from ocdnet.cli.weights import weights
from ocdnet.errors import Exit, Interrupted, UsageError, UserError
from ocdnet.files import disk_full
from ocdnet.install import missing_package
from ocdnet.runs.typed import to_json
from ocdnet.version import VERSION

_EXITS = "\n".join(f"  {code} {code.meaning}" for code in Exit)
_EPILOG = f"""\b
Examples:
  ocdnet train -e spec.yaml train.num_epochs=30 results_dir=results
  ocdnet export -e spec.yaml export.checkpoint=results/train/model_best.pth
  ocdnet spec validate train spec.yaml

\b
Exit codes:
{_EXITS}

stdout carries one JSON document, stderr progress and logs.

\b
Completion of commands, spec keys and their values, in ~/.bashrc or ~/.zshrc:
  eval "$(_OCDNET_COMPLETE=bash_source ocdnet)"
  eval "$(_OCDNET_COMPLETE=zsh_source ocdnet)"
and in ~/.config/fish/completions/ocdnet.fish:
  _OCDNET_COMPLETE=fish_source ocdnet | source"""


@click.group(cls=Group, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="%(version)s")
def cli() -> None:
    """OCDNet: find text in images. Train, evaluate, export and run a DBNet detector."""


def _action_command(action: Action) -> click.Command:
    """`ocdnet ACTION -e SPEC.yaml [KEY=VALUE]...`, TAO's command line."""

    @click.command(
        action.name,
        cls=ActionCommand,
        action=action,
        short_help=action.summary,
        help=f"{action.summary}\n\nOverrides are dotted spec keys with YAML values; ~KEY takes "
        "away what the file says. Every key and its default: "
        f"`ocdnet spec list {action.name} --all`.",
        epilog=f"Example: ocdnet {action.name} -e spec.yaml results_dir=results",
    )
    @spec_file_option("The experiment's YAML file; it may hold the sections of other actions, too.")
    @click.argument(
        "overrides",
        nargs=-1,
        metavar="[KEY=VALUE]...",
        shell_complete=overrides_of(action.name),
    )
    @ray_options(action.ray != "", action.parts)
    def command(spec_file: Path, overrides: tuple[str, ...], **options: Any) -> None:
        from ocdnet.cli.running import run_action

        if options and is_ray(options):
            print_json(to_json(run_spec_on_ray(action, spec_file, overrides, options)))
        else:
            print_json(to_json(run_action(action, spec_file, overrides)))

    return command


@cli.command("default_specs", epilog="Example: ocdnet default_specs results_dir=specs")
@click.argument("overrides", nargs=-1, metavar="results_dir=DIR")
def default_specs(overrides: tuple[str, ...]) -> None:
    """Write DIR/experiment.yaml: every key of every action with its default."""
    folder = dict(pair.partition("=")[::2] for pair in overrides).get("results_dir")
    if not folder or len(overrides) > 1:
        raise UsageError(
            "missing-results-dir",
            "default_specs takes one override, the folder to write to",
            got=" ".join(overrides) or None,
            expected="results_dir=DIR",
        )
    from ocdnet.actions.default_specs import run

    print_json(run(Path(folder)))


@cli.command(epilog="Example: ocdnet demo --out demo --minutes 8")
@click.option(
    "--out",
    default="demo",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder to make; absent or empty.",
)
@click.option("--minutes", default=8.0, show_default=True, help="Time to train, at most.")
def demo(out: Path, minutes: float) -> None:
    """Render scenes, then train, evaluate, export and predict: the whole loop on one CPU.

    Prints each command as it runs it. Exits with 6 where the detector stays below hmean 0.5.
    """
    from ocdnet.cli.demo import run

    print_json(run(out, minutes))


def main() -> None:
    """Entry point: runs the command and exits with its code."""
    sys.exit(_guarded(lambda: cli(standalone_mode=False, prog_name=program())))


def _guarded(command: Callable[[], Any]) -> int:
    try:
        return int(command() or 0)
    except UserError as error:
        return _report(error)
    except click.UsageError as error:
        hint = f"See `{error.ctx.command_path} --help`." if error.ctx else None
        alone = isinstance(error, click.exceptions.NoArgsIsHelpError)  # its message is the help
        message = "Missing command." if alone else error.format_message()
        return _report(UsageError("usage", message, hint=hint))
    except click.exceptions.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        hint = "Resume with train.resume_training_checkpoint_path=.../ocd_model_latest.pth"
        return _report(Interrupted("interrupted", "Interrupted", hint=hint))
    except Exception as error:  # noqa: BLE001 - the last resort: a bug still ends in JSON
        fault: UserError | None = None
        if isinstance(error, ModuleNotFoundError):
            fault = missing_package(error, "This command")
        fault = fault or disk_full(error)
        if fault is None:
            traceback.print_exc()
            fault = UserError("bug", f"{type(error).__name__}: {error}", hint="Please report this.")
        return _report(fault)


def _report(error: UserError) -> int:
    # One line: all of it stands on stdout.
    click.echo(f"error: {error.message}", err=True)
    print_json({"error": error.to_dict()})
    return error.exit_code


for _action in ACTIONS.values():
    if not _action.command:  # another action's command runs it
        cli.add_command(_action_command(_action))
for _command in (
    predict,
    merge,
    tune,
    optimize,
    automl,
    serve,
    plan,
    status,
    next_,
    report,
    doctor,
    spec,
    data,
    view,
    weights,
):
    cli.add_command(_command)

if __name__ == "__main__":
    main()
