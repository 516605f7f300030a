"""How long a planned training will take: a few of its steps, timed on this machine."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import click

from ocdnet.catalogue import PLANNED
from ocdnet.policy.artifacts import Skill
from ocdnet.policy.plan import build
from ocdnet.policy.plan_record import AutomlRoute, Estimate, Plan
from ocdnet.policy.request import Request
from ocdnet.policy.starting import in_words
from ocdnet.runs.parsing import loads, parse
from ocdnet.runs.printed import DryRunResult, Timing, failure
from ocdnet.spec_keys import TRAIN_RESULTS
from ocdnet.tree.yaml_io import inline_yaml

_SECONDS = 600.0


def estimated(request: Request, skill: Skill, program: str) -> Plan:
    """The plan of a request with an `estimate`, or with a warning that says why there is none.

    Raises:
        UserError: as `build`.
    """
    draft = build(replace(request, write=None), skill, program)
    timing: Timing | str | None = _why_not(draft)
    if timing is None:
        click.echo("Timing a few steps of training ...", err=True)
        timing = _timed(draft, skill.template_path(PLANNED[draft.action].spec))
    if isinstance(timing, Timing):
        plan = build(request, skill, program, timing.run_seconds)
        return replace(plan, estimate=_estimate(plan, timing))
    plan = build(request, skill, program)
    return replace(plan, warnings=(*plan.warnings, f"No estimate of time: {timing}"))


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
    changes = dict(plan.spec_overrides)
    with tempfile.TemporaryDirectory(prefix="ocdnet-estimate-") as folder:
        changes |= {"train.is_dry_run": True, TRAIN_RESULTS: folder, "wandb.enable": False}
        overrides = [f"{key}={inline_yaml(value)}" for key, value in changes.items()]
        command = [
            sys.executable,
            "-m",
            "ocdnet.cli.main",
            "train",
            "-e",
            str(template),
            *overrides,
        ]
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
    words = f"About {in_words(seconds)} on this machine"
    if trials > 1:
        words += f" for {trials} trials one after the other; trials that are behind end early"
    return Estimate(
        step_seconds=timing.step_seconds,
        epoch_seconds=timing.epoch_seconds,
        run_seconds=timing.run_seconds,
        total_seconds=round(seconds, 1),
        in_words=f"{words}.",
    )
