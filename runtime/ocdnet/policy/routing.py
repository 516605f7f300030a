"""AutoML or direct: the decision table of the train action, a branch a row."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ocdnet.launch.platforms import PLATFORMS
from ocdnet.policy.case import BY_SKILL, SEARCH_HERE, Case, SearchRunner
from ocdnet.policy.draft import Draft
from ocdnet.policy.plan_record import AutomlRoute, Budget, ParameterRange
from ocdnet.policy.request import Policy
from ocdnet.policy.words import Words
from ocdnet.runs.names import DEFAULT_METRIC, DIRECTIONS, LOG_ALIASES, MONITOR
from ocdnet.spec_keys import NUM_EPOCHS
from ocdnet.tree import nodes

AUTOML_SKILL = "tao-skill-bank:tao-run-automl"
BANK = "TAO_SKILL_BANK_PATH"
"""Variable that the plugin of NVIDIA's bank sets: the folder that holds its skills/."""
INSTALL = "npx skills add https://github.com/NVIDIA/skills --skill tao-run-automl"
RECOMMENDATIONS = 10
"""Trials of a search whose budget the user does not name."""


def choose(case: Case, words: Words) -> SearchRunner | None:
    """What runs a search, None for a direct run; the rules that fired go to the notes.

    Args:
        case: the request; its notes are told why.
        words: what the user's words say.
    """
    entry, notes = case.entry, case.notes
    given = case.request.automl_policy
    if entry.automl == "never":
        if "on" in (given, words.automl_policy):
            notes.warn(
                f"automl_policy has no effect: {entry.name} is always run directly.",
                "--automl-policy",
            )
        notes.because(f"{entry.name} is run directly: AutoML is for training.")
        return None
    policy = _effective(case, words)
    direct = _direct(case, policy)
    if direct:
        notes.because(direct, "--automl-policy")
        return None
    notes.because(
        "automl_policy is on."
        if policy == "on"
        else "AutoML is the default of train; automl_policy off: one plain run.",
        "--automl-policy",
    )
    return _runner(case)


def _direct(case: Case, policy: Policy | None) -> str:
    """Why a training is run directly; empty where it is searched."""
    name = case.entry.spec
    if policy == "off":
        return "automl_policy is off: a direct run, this time only; no metadata changes."
    if case.entry.automl == "on request" and policy is None:
        return f"{case.entry.name} is run directly unless automl_policy is on."
    if case.skill.info.get("automl_enabled") is not True:
        return "The model is not AutoML-enabled (automl_enabled in skill_info.yaml)."
    if not case.skill.can_search(name):
        return (
            "AutoML is enabled but not runnable until schemas are generated: "
            f"schemas/{name}.schema.json or its template is missing or does not parse."
        )
    return ""


def _effective(case: Case, words: Words) -> Policy | None:
    """The explicit value, else what the words say; where they say both, the user is asked."""
    given, stated, notes = case.request.automl_policy, words.automl_policy, case.notes
    if words.conflict and given:
        notes.warn(
            f"automl_policy is {given}, and the words say both: {given} is kept.",
            "--automl-policy",
        )
    elif words.conflict:
        notes.ask("--automl-policy", "The words say both: AutoML, and not. Which is meant?")
    if given and stated and given != stated:
        notes.warn(
            f"automl_policy is {given}, but the words say {stated}: {given} is kept.",
            "--automl-policy",
        )
        notes.ask(
            "--automl-policy",
            f"automl_policy is {given}, the request's words say {stated}. Which is meant?",
            blocking=False,
        )
    if stated and not given:
        notes.because(f"The request's words turn AutoML {stated}.", "--automl-policy")
    return given or stated


def _runner(case: Case) -> SearchRunner:
    """What runs a search: the AutoML skill where it is installed, else `ocdnet automl`.

    That one starts trainings anew, and NVIDIA's image does not hold it.
    """
    anew = case.entry.automl == "default"
    if _installed() or not anew or PLATFORMS[case.request.platform].tao:
        return BY_SKILL
    case.notes.because(f"`{SEARCH_HERE}` runs it: NVIDIA's AutoML skill is not installed.")
    return SEARCH_HERE


def automl_route(case: Case, runner: SearchRunner, draft: Draft) -> AutomlRoute:
    """What runs the search, and what to hand to the AutoML skill."""
    skill_found_at = _installed()
    absent = skill_found_at is None and runner == BY_SKILL
    metric = case.request.metric or DEFAULT_METRIC
    handed = runner == BY_SKILL or case.request.full
    return AutomlRoute(
        runner=runner,
        skill=AUTOML_SKILL if handed else None,
        skill_dir=str(case.skill.root) if handed else None,
        metric=metric,
        log_alias=LOG_ALIASES[metric] if handed else None,
        direction=DIRECTIONS[metric],
        monitor=MONITOR,
        budget=Budget(
            algorithm="bayesian" if handed else None,
            automl_max_recommendations=case.request.trials or RECOMMENDATIONS,
            epochs_each=draft.at(NUM_EPOCHS),
        ),
        custom_param_ranges=_ranges(case) if handed else None,
        skill_found_at=skill_found_at,
        install=INSTALL if absent else None,
        or_direct="add --automl-policy off" if absent else None,
    )


def _ranges(case: Case) -> dict[str, ParameterRange]:
    schema = case.skill.schema(case.entry.spec)
    searched = schema["automl_default_parameters"]
    return {key: _range(nodes.find(schema, key) or {}) for key in searched}


def _range(node: nodes.Node) -> ParameterRange:
    """A parameter's range worth searching, in the words of the AutoML client."""
    search = node["search"]
    choices = search.get("choices")
    if choices and "enum" in node:
        return ParameterRange(valid_options=tuple(choices))
    if choices:
        return ParameterRange(valid_min=min(choices), valid_max=max(choices))
    low, high = search["min"], search["max"]
    if search["scale"] == "log":
        return ParameterRange(valid_min=(low,), valid_max=(high,), disable_list=True)
    return ParameterRange(valid_min=low, valid_max=high)


def _installed() -> str | None:
    """Where the AutoML skill is, if it is in one of the folders that agents look in."""
    name = AUTOML_SKILL.partition(":")[2]
    for home, pattern in _places():
        try:
            found = sorted(home.glob(f"{pattern}/{name}/SKILL.md"))
        except OSError:  # a folder that may not be read
            continue
        if found:
            return str(found[0].parent)
    return None


def _places() -> Iterator[tuple[Path, str]]:
    """Folders, and where below them skills lie: those of agents, then NVIDIA's bank."""
    for home in (Path.cwd(), Path(os.path.expanduser("~"))):  # noqa: PTH111 - Path's may raise
        # .claude/skills, .codex/skills and so on; .config/goose/skills, .codeium/windsurf/skills.
        for pattern in (".*/skills", ".*/*/skills"):
            yield home, pattern
    for variable in ("CLAUDE_CONFIG_DIR", "CODEX_HOME"):
        if os.environ.get(variable):
            yield Path(os.environ[variable]), "skills"
    bank = os.environ.get(BANK)
    if bank:
        for pattern in ("skills", "skills/*"):  # it sorts them: skills/applications/
            yield Path(os.path.expanduser(bank)), pattern  # noqa: PTH111 - the same
