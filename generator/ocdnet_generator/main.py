"""`make generate` and `make generate-check`: everything that is derived from the config."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

from ocdnet.config.actions import ACTIONS
from ocdnet.files import write_text
from ocdnet_generator import schemas, templates

ROOT = Path(__file__).resolve().parents[2]
MEND = "make generate"
_OWNED = ("schemas/*.schema.json", "references/spec_template_*.yaml")
_DIFF_LINES = 60


def outputs() -> dict[str, str]:
    """Every generated file: path relative to the repository, and its text."""
    files = {}
    for action in ACTIONS:
        files[f"schemas/{action}.schema.json"] = schemas.text(action)
        files[f"references/spec_template_{action}.yaml"] = templates.text(action)
    return files


def differences(root: Path) -> dict[str, tuple[str, str]]:
    """Files below root that are not as generated: path, and (text there, text due); "" for none."""
    due = outputs()
    there = {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for pattern in _OWNED
        for path in root.glob(pattern)
    }
    pairs = {path: (there.get(path, ""), due.get(path, "")) for path in sorted({*there, *due})}
    return {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}


def write(root: Path) -> list[str]:
    """Bring the files below root up to date, without those of actions that are gone.

    Returns:
        The paths that changed.
    """
    changed = differences(root)
    for path, (_, due) in changed.items():
        if due:
            write_text(root / path, due)
        else:
            (root / path).unlink()
    return list(changed)


def report(changed: dict[str, tuple[str, str]]) -> str:
    """A unified diff of at most `_DIFF_LINES` lines, and the command that mends it."""
    lines = [
        line
        for path, (there, due) in changed.items()
        for line in difflib.unified_diff(
            there.splitlines(), due.splitlines(), path, f"{path} (generated)", lineterm=""
        )
    ]
    if len(lines) > _DIFF_LINES:
        lines[_DIFF_LINES:] = [f"... {len(lines) - _DIFF_LINES} more lines"]
    lines.append(f"Out of date: {', '.join(changed)}. Mend it with: {MEND}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the generated files, or with `--check` compare them; the exit code (1: out of date)."""
    parser = argparse.ArgumentParser(prog="ocdnet_generator", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    parser.add_argument("--root", type=Path, default=ROOT, help="repository (default: this one)")
    options = parser.parse_args(arguments)
    if options.check:
        changed = differences(options.root)
        if changed:
            sys.stderr.write(report(changed) + "\n")
        return 1 if changed else 0
    for path in write(options.root):
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
