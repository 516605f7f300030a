"""`make generate` and `make generate-check`: everything that is derived from the config."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

from ocdnet.catalogue import ACTIONS
from ocdnet.files import write_text
from ocdnet_generator import cards, pages, records, schemas, skill, templates

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "make generate"
_OWNED = ("schemas/*.json", "references/spec_template_*.yaml", "references/*skill_info.yaml")
"""What nobody else writes: a file here that is not generated is one of an action that is gone."""
_DIFF_LINES = 60


def outputs() -> dict[str, str]:
    """Every generated file: path relative to the repository, and its text."""
    files = {}
    for action in ACTIONS:
        files[f"schemas/{action}.schema.json"] = schemas.text(action)
        files[f"references/spec_template_{action}.yaml"] = templates.text(action)
    files["schemas/manifest.json"] = schemas.dumped(schemas.manifest())
    files["schemas/plan.schema.json"] = schemas.dumped(records.plan())
    files["schemas/status.schema.json"] = schemas.dumped(records.status())
    files["schemas/comparison.schema.json"] = schemas.dumped(records.comparison())
    files["schemas/data_check.schema.json"] = schemas.dumped(records.data_check())
    files["schemas/page.schema.json"] = schemas.dumped(records.page())
    files["schemas/results.schema.json"] = schemas.dumped(records.results())
    for action in (name for name, entry in ACTIONS.items() if entry.deploys):
        name = skill.deploy_template(action.removeprefix("deploy_"))
        files[f"references/{name}"] = templates.text(action)
    files["skill_info.yaml"] = skill.skill()
    files["references/skill_info.yaml"] = skill.skill(templates="")
    files["references/tao-deploy-ocdnet.skill_info.yaml"] = skill.deploy()
    files["references/config-reference.md"] = pages.config_reference()
    files["references/action-reference.md"] = pages.action_reference()
    files["references/cli-reference.md"] = pages.cli_reference()
    files["skill-card.md"] = cards.skill_card()
    files["BENCHMARK.md"] = cards.benchmark()
    return files


def stale(root: Path) -> dict[str, tuple[str, str]]:
    """Files below root that are not as generated: path, and (text there, text due); "" for none."""
    due = outputs()
    owned = {path.relative_to(root).as_posix() for pattern in _OWNED for path in root.glob(pattern)}
    there = {
        name: (root / name).read_text(encoding="utf-8")
        for name in {*due, *owned}
        if (root / name).is_file()
    }
    pairs = {path: (there.get(path, ""), due.get(path, "")) for path in sorted({*there, *due})}
    return {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}


def write(root: Path) -> list[str]:
    """Bring the files below root up to date, without those of actions that are gone.

    Returns:
        The paths that changed.
    """
    changed = stale(root)
    for path, (_, due) in changed.items():
        if due:
            write_text(root / path, due)
        else:
            (root / path).unlink()
    return list(changed)


def report(changed: dict[str, tuple[str, str]]) -> str:
    """A unified diff of at most `_DIFF_LINES` lines, and the command that fixes it."""
    lines = [
        line
        for path, (there, due) in changed.items()
        for line in difflib.unified_diff(
            there.splitlines(), due.splitlines(), path, f"{path} (generated)", lineterm=""
        )
    ]
    if len(lines) > _DIFF_LINES:
        lines[_DIFF_LINES:] = [f"... {len(lines) - _DIFF_LINES} more lines"]
    lines.append(f"Out of date: {', '.join(changed)}. Fix it with: {COMMAND}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the generated files, or with `--check` compare them; the exit code (1: out of date)."""
    parser = argparse.ArgumentParser(prog="ocdnet_generator", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    parser.add_argument("--root", type=Path, default=ROOT, help="repository (default: this one)")
    options = parser.parse_args(arguments)
    if options.check:
        changed = stale(options.root)
        if changed:
            sys.stderr.write(report(changed) + "\n")
        return 1 if changed else 0
    for path in write(options.root):
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
