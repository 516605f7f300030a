"""`ocdnet status` and `ocdnet next`: what runs are doing, and what may follow them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocdnet.cli.shared import program
from ocdnet.errors import Exit

if TYPE_CHECKING:
    from ocdnet.policy.next import FollowUp
    from ocdnet.runs.jobs import RunFolder

_MOST_CHARACTERS = 5000
_MOST_NAMES = 5
_POLL_SECONDS = 1.0
_FOLDER = click.argument("results_dir", type=click.Path(path_type=Path))


@click.command(
    epilog="""\b
Examples:
  ocdnet status results
  ocdnet status results/train --follow"""
)
@_FOLDER
@click.option("--follow", is_flag=True, help="A JSON line a change, until every job has ended.")
@click.pass_context
def status(context: click.Context, results_dir: Path, follow: bool) -> None:
    """Tell what the jobs in RESULTS_DIR are doing.

    RESULTS_DIR is a run's results_dir, or one action's folder, of this runtime or of TAO. Prints
    one JSON object; `jobs` holds of each job: state (STARTED, RUNNING, SUCCESS, FAILURE), epoch and
    epochs (counted from 1), eta, kpis, best epoch, error with its remedy, files. A run that is
    silent for over ten minutes and three epochs is told as perhaps killed, with the command that
    resumes it; `warnings` says where a model found nothing, and what to do.

    With --follow one JSON line a change; it ends when no job is running, or one is perhaps killed.

    Exit codes: 0 told, whatever the jobs' state; 4 no such folder, or no job in it; 130 stopped.
    """
    if follow:
        try:
            _follow(results_dir)
        except KeyboardInterrupt:
            click.echo("stopped following; the run is untouched", err=True)
            context.exit(Exit.INTERRUPTED)
        return
    from ocdnet.runs.jobs import run_folders

    jobs = run_folders(results_dir)
    _print(results_dir, jobs, lambda job: _row(job, jobs))


@click.command(
    "next",
    epilog="""\b
Example:
  ocdnet next results""",
)
@_FOLDER
def next_(results_dir: Path) -> None:
    """List what may follow the jobs in RESULTS_DIR, with the command for it.

    Prints one JSON object; `jobs` holds of each job its follow_ups: the action, the file that it
    takes and why that one, the command, and what the command still needs; `warnings` what speaks
    against going on with its model; `also` names actions whose command does not fit, for
    `ocdnet plan --action ACTION --parent FOLDER`. Nothing is run.

    Exit codes: 0 told; 4 no such folder, or no job in it.
    """
    from ocdnet.policy.next import follow_ups
    from ocdnet.runs.jobs import run_folders

    jobs = run_folders(results_dir)

    def row(job: RunFolder) -> dict[str, Any]:
        following = follow_ups(job, results_dir, program())
        about = {"action": job.action, "folder": str(job.folder), "state": job.progress.state}
        doubt = {"warnings": list(doubts)} if (doubts := _doubts(job, jobs)) else {}
        return about | doubt | _bounded(following) | _why_none(job, following)

    _print(results_dir, jobs, row)


def _print(
    root: Path, jobs: Sequence[RunFolder], row_of: Callable[[RunFolder], dict[str, Any]]
) -> None:
    """The rows that fit into a bounded document, in order, and the folders of those left out."""
    shown: list[dict[str, Any]] = []
    left = _MOST_CHARACTERS
    for job in jobs:
        row = row_of(job)
        left -= len(json.dumps(row, indent=2))
        if shown and left < 0:
            break
        shown.append(row)
    document: dict[str, Any] = {"results_dir": str(root), "jobs": shown}
    if len(jobs) > len(shown):
        document["left_out"] = _few([job.folder.name for job in jobs[len(shown) :]])
    click.echo(json.dumps(document, indent=2, allow_nan=False))


def _doubts(job: RunFolder, jobs: Sequence[RunFolder]) -> list[str]:
    """What speaks against going on with a job's model; nothing while it may still get better."""
    from ocdnet.policy.found_nothing import found_nothing

    doubt = "" if job.running else found_nothing(job, jobs)
    return [doubt] if doubt else []


def _row(job: RunFolder, jobs: Sequence[RunFolder]) -> dict[str, Any]:
    """A job as JSON, without what is not known."""
    from ocdnet.policy.next import resumption

    progress = job.progress
    resumed = resumption(job, program())
    silent = job.silent_for if job.unfinished else None
    row = {
        "epoch": progress.epoch,
        "epochs": progress.epochs,
        "time_per_epoch": _duration(progress.seconds_per_epoch) if job.unfinished else None,
        "eta": _duration(progress.seconds_left) if job.running else None,
        "silent_for": _duration(silent),
        "kpis": {name: round(value, 6) for name, value in progress.kpis.items()},
        "best": vars(job.best) if job.best and job.best.found_text else None,
        "warnings": _doubts(job, jobs),
        **_search(job),
        "message": None if progress.error else progress.message,
        "error": progress.error,
        "perhaps_killed": job.perhaps_killed,
        "resume": resumed.command if resumed else None,
        "files": _files(job),
        "notes": list(job.notes),
    }
    known = {name: value for name, value in row.items() if value not in (None, False, {}, [])}
    return {"action": job.action, "folder": str(job.folder), "state": progress.state, **known}


def _search(job: RunFolder) -> dict[str, Any]:
    """What a search came to: its trials, the best of them, and the one at work."""
    search = job.search
    if search is None:
        return {}
    best, work = search.best, job.trial if job.running else None
    total = search.search.trials
    return {
        "metric": search.metric,
        "trials": search.states.counts | ({"of": total} if total else {}),
        "best_trial": best
        and {"trial": best.trial, search.metric: best.value, "settings": dict(best.settings)},
        "baseline": search.baseline.value if search.baseline else None,
        "trial_at_work": work and {"epoch": work.epoch or 0, "epochs": work.epochs},
    }


def _files(job: RunFolder) -> dict[str, Any]:
    files = job.files
    row = {
        "best": files.best.name if files.best else None,
        "checkpoints": len(files.checkpoints),
        "latest": files.latest.name if files.latest else None,
        "pruned": _few([path.name for path in files.pruned]),
        "quantized": _few([path.name for path in files.quantized]),
        "onnx": _few([str(path) for path in job.models("onnx")]),
        "engines": _few([str(path) for path in job.models("engine")]),
        "predictions": files.predictions,
    }
    return {name: value for name, value in row.items() if value}


def _follow_up(item: FollowUp) -> dict[str, Any]:
    row = {"action": item.action, "takes": item.takes, "why": item.why, "command": item.command}
    return row | ({"needs": list(item.needs)} if item.needs else {})


def _bounded(following: Sequence[FollowUp]) -> dict[str, Any]:
    """As many follow-ups as fit, and the actions of the others."""
    rows: list[dict[str, Any]] = []
    left = _MOST_CHARACTERS
    for item in following:
        row = _follow_up(item)
        left -= len(json.dumps(row, indent=2))
        if rows and left < 0:
            break
        rows.append(row)
    others = [item.action for item in following[len(rows) :]]
    return {"follow_ups": rows, **({"also": others} if others else {})}


def _why_none(job: RunFolder, following: Sequence[FollowUp]) -> dict[str, Any]:
    if following:
        return {}
    if job.running:
        return {"why_none": "It is still running."}
    if job.progress.error:
        return {"why_none": f"It failed, and left nothing to go on from: {job.progress.error}"}
    return {"why_none": "Nothing takes its files."}


def _few(names: Sequence[str]) -> list[str]:
    more = len(names) - _MOST_NAMES
    return [*names[:_MOST_NAMES], *([f"and {more} more"] if more > 0 else [])]


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else str(timedelta(seconds=round(seconds)))


def _follow(root: Path) -> None:
    """A line for each job that changed, until none is running."""
    from ocdnet.runs.jobs import run_folders

    seen: dict[Path, tuple[Any, ...]] = {}
    readable = ""
    while True:
        jobs = run_folders(root)
        for job in jobs:
            now = (job.progress, job.files, job.perhaps_killed)
            if seen.get(job.folder) == now:
                continue
            seen[job.folder] = now
            row = _row(job, jobs)
            click.echo(json.dumps(row, allow_nan=False))
            line = _progress_line(row)
            if line != readable:  # a job may change in its files alone
                click.echo(line, err=True)
            readable = line
        if not any(job.running for job in jobs):
            return
        time.sleep(_POLL_SECONDS)


def _progress_line(row: Mapping[str, Any]) -> str:
    parts = [f"{row['action'] or row['folder']}: {row['state'] or 'state unknown'}"]
    if "epoch" in row:
        parts.append(f"epoch {row['epoch']}/{row.get('epochs', '?')}")
    if "best_trial" in row:
        parts.append(f"best trial {row['best_trial']['trial']}")
    parts += [f"{name} {value:.4g}" for name, value in row.get("kpis", {}).items()]
    parts += [f"{name} {row[name]}" for name in ("eta", "error") if name in row]
    return "  ".join(parts)
