"""AutoML or direct: the decision table of the train action, a branch a row."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from ocdnet.notes import Notes
from ocdnet.policy.artifacts import Skill
from ocdnet.runs.metric_names import DEFAULT_METRIC, DIRECTIONS, LOG_ALIASES, MONITOR
from ocdnet.tree import nodes

Policy = Literal["on", "off"]
Kind = Literal["automl", "direct"]

AUTOML_SKILL = "tao-skill-bank:tao-run-automl"
INSTALL = "npx skills add https://github.com/NVIDIA/skills --skill tao-run-automl"
RECOMMENDATIONS = 10
"""Trials of a search whose budget the user does not name."""
HERE, BY_SKILL = "ocdnet automl", "skill"
"""What runs a search: the plan's commands, or another skill."""


def choose(
    action: str, given: Policy | None, in_words: Policy | None, skill: Skill, notes: Notes
) -> Kind:
    """Whether a request goes to AutoML or is run directly; the rules that fired go to the notes.

    Args:
        action: what is planned.
        given: the explicit `automl_policy`.
        in_words: what the request's words say.
        skill: whose schemas and metadata decide.
        notes: told why.
    """
    if action not in ("train", "retrain", "resume"):
        if "on" in (given, in_words):
            notes.warn(f"automl_policy has no effect: {action} is always run directly.")
        notes.because(f"{action} is run directly: AutoML is for training.")
        return "direct"
    policy = _effective(given, in_words, notes)
    if policy == "off":
        notes.because("automl_policy is off: a direct run, this time only; no metadata changes.")
        return "direct"
    if action != "train" and policy is None:
        notes.because(f"{action} is run directly unless automl_policy is on.")
        return "direct"
    if skill.info.get("automl_enabled") is not True:
        notes.because("The model is not AutoML-enabled (automl_enabled in skill_info.yaml).")
        return "direct"
    searched = "retrain" if action == "retrain" else "train"
    if not skill.can_search(searched):
        notes.because(
            "AutoML is enabled but not runnable until schemas are generated: "
            f"schemas/{searched}.schema.json or its template is missing or does not parse."
        )
        return "direct"
    notes.because(
        "automl_policy is on."
        if policy == "on"
        else "AutoML is the default of train; automl_policy off turns it off for one run."
    )
    return "automl"


def _effective(given: Policy | None, in_words: Policy | None, notes: Notes) -> Policy | None:
    """The explicit value, else what the words say."""
    if given and in_words and given != in_words:
        notes.warn(f"automl_policy is {given}, but the words say {in_words}: {given} is kept.")
        notes.ask(
            "--automl-policy",
            f"automl_policy is {given}, the request's words say {in_words}. Which is meant?",
            blocking=False,
        )
    if in_words and not given:
        notes.because(f"The request's words turn AutoML {in_words}.")
    return given or in_words


def runner(action: str, platform: str, notes: Notes) -> str:
    """What runs a search: the AutoML skill where it is installed, else `ocdnet automl`.

    That one starts trainings anew, and NVIDIA's image does not hold it.
    """
    found = _installed()
    if found or action != "train" or platform == "tao-docker":
        return BY_SKILL
    notes.because(f"{AUTOML_SKILL} is not installed here: `{HERE}` runs the search.")
    return HERE


def automl_route(
    action: str,
    tree: dict[str, Any],
    skill: Skill,
    *,
    by: str,
    trials: int | None,
    metric: str | None,
) -> dict[str, Any]:
    """What runs the search, and what to hand to the AutoML skill.

    Args:
        action: train, retrain or resume.
        tree: the complete spec.
        skill: whose schema says what is searched in which range.
        by: HERE or BY_SKILL.
        trials: how many; None: RECOMMENDATIONS.
        metric: what judges them; None: DEFAULT_METRIC.

    Returns:
        The plan's `route`.
    """
    schema = skill.schema("retrain" if action == "retrain" else "train")
    found = _installed()
    absent = {"install": INSTALL, "or_direct": "add --automl-policy off"}
    metric = metric or DEFAULT_METRIC
    return {
        "kind": "automl",
        "runner": by,
        "skill": AUTOML_SKILL,
        "skill_dir": str(skill.root),
        "metric": metric,
        "log_alias": LOG_ALIASES[metric],
        "direction": DIRECTIONS[metric],
        "monitor": MONITOR,
        "budget": {
            "algorithm": "bayesian",
            "automl_max_recommendations": trials or RECOMMENDATIONS,
            "epochs_each": tree["train"]["num_epochs"],
        },
        "custom_param_ranges": {
            key: _range(nodes.find(schema, key.split(".")) or {})
            for key in schema["automl_default_parameters"]
        },
        "skill_found_at": found,
        **({} if found or by == HERE else absent),
    }


def _range(node: nodes.Node) -> dict[str, Any]:
    """A parameter's range worth searching, in the words of the AutoML client."""
    search = node["search"]
    if "choices" in search and "enum" in node:
        return {"valid_options": search["choices"]}
    if "choices" in search:
        return {"valid_min": min(search["choices"]), "valid_max": max(search["choices"])}
    return {"valid_min": search["min"], "valid_max": search["max"]}


def _installed() -> str | None:
    """Where the AutoML skill is, if it is in one of the folders that agents look in."""
    name = AUTOML_SKILL.partition(":")[2]
    homes = [Path.cwd(), Path.home()]
    folders = [home / agent / "skills" for home in homes for agent in (".claude", ".agents")]
    bank = os.environ.get("TAO_SKILL_BANK_PATH")
    if bank:
        folders.append(Path(bank) / "skills")
    for folder in folders:
        if (folder / name / "SKILL.md").is_file():
            return str(folder / name)
    return None
