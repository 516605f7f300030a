"""How long a planned training will take: a few of its steps, timed on this machine."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import click

from ocdnet.catalogue import PLANNED
from ocdnet.policy.plan_record import AutomlRoute, Estimate, Plan
from ocdnet.runs.parsing import loads, parse
from ocdnet.runs.printed import DryRunResult, Timing, failure
from ocdnet.spec_keys import TRAIN_RESULTS
from ocdnet.tree.yaml_io import inline_yaml

_SECONDS = 600.0


def with_estimate(plan: Plan, template: Path) -> Plan:
    """The plan with an `estimate`, or with a warning that says why there is none.

    Args:
        plan: what is to be run.
        template: of its action; what is timed where no spec was written.
    """
    why_not = _why_not(plan)
    if why_not is None:
        click.echo("Timing a few steps of training ...", err=True)
        timing = _timed(plan, template)
        if isinstance(timing, Timing):
            return replace(plan, estimate=_estimate(plan, timing))
        why_not = timing
    return replace(plan, warnings=(*plan.warnings, f"No estimate of time: {why_not}"))


def _why_not(plan: Plan) -> str | None:
    if not PLANNED[plan.action].trains:
        return "only training is timed."
    if plan.blocked:
        return "questions are open."
    if plan.extract:
        return "the data must be unpacked first."
    return None


def _timed(plan: Plan, template: Path) -> Timing | str:
    """The timing of a dry run of the spec; where that failed, why."""
    spec = plan.spec_file or str(template)
    changes = {} if plan.spec_file else dict(plan.spec_overrides)
    with tempfile.TemporaryDirectory(prefix="ocdnet-estimate-") as folder:
        changes |= {"train.is_dry_run": True, TRAIN_RESULTS: folder, "wandb.enable": False}
        overrides = [f"{key}={inline_yaml(value)}" for key, value in changes.items()]
        command = [sys.executable, "-m", "ocdnet.cli.main", "train", "-e", spec, *overrides]
        try:
            done = subprocess.run(  # noqa: S603 - our own command
                command, capture_output=True, text=True, check=False, timeout=_SECONDS
            )
        except subprocess.TimeoutExpired:
            return f"a few steps took over {_SECONDS / 60:.0f} minutes."
    if done.returncode == 0:
        result: DryRunResult = parse(DryRunResult, loads(done.stdout), "what train printed")
        return result.timing
    error = failure(done.stdout, done.returncode)
    if error is None:
        return f"`train` ended with exit code {done.returncode}."
    return f"{error.message}. {error.hint or ''}"


def _estimate(plan: Plan, timing: Timing) -> Estimate:
    """Seconds of a step, an epoch, a run and all of it, and the last in words."""
    route, trials = plan.route, 1
    if isinstance(route, AutomlRoute):
        trials = route.budget.automl_max_recommendations
    seconds = trials * timing.run_seconds
    minutes = math.ceil(seconds / 60)
    text = f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
    words = f"About {text} on this machine"
    if trials > 1:
        words += f" for {trials} trials one after the other; trials that are behind end early"
    return Estimate(
        step_seconds=timing.step_seconds,
        epoch_seconds=timing.epoch_seconds,
        run_seconds=timing.run_seconds,
        total_seconds=round(seconds, 1),
        in_words=f"{words}.",
    )
