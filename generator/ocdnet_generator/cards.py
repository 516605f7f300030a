"""skill-card.md and BENCHMARK.md: what NVIDIA's catalogue of skills shows of a skill."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ocdnet.catalogue import ACTIONS
from ocdnet.version import VERSION
from ocdnet_generator.filling import filled

_ROOT = Path(__file__).resolve().parents[2]
_ROWS = (
    ("training step, bf16", "2"),
    ("forward 1280x736, deformable_resnet18", "2"),
    ("label maps, 20 words", "1"),
    ("post-processing, 200 quads", "1"),
    ("openvino INT8, resnet18", "2"),
)
"""What BENCHMARK.md takes of the table in docs/performance.md: name and threads."""


def skill_card() -> str:
    """Text of skill-card.md."""
    head = _frontmatter()
    pages = sorted(path.name for path in (_ROOT / "references").glob("*.md"))
    return filled(
        "skill-card.md",
        actions=list(ACTIONS),
        author=head["metadata"]["author"].partition(" <")[0],
        license=head["license"],
        compatibility=head["compatibility"],
        references=pages,
        evals=_evals(),
        version=VERSION,
    )


def benchmark() -> str:
    """Text of BENCHMARK.md."""
    return filled("benchmark.md", version=VERSION, evals=_evals(), rows=_rows())


def _frontmatter() -> Any:
    text = (_ROOT / "SKILL.md").read_text(encoding="utf-8")
    return YAML(typ="safe", pure=True).load(text.split("---\n")[1])


def _evals() -> dict[str, int | str]:
    content = (_ROOT / "evals" / "evals.json").read_bytes()
    tasks = json.loads(content)
    positive = sum("plan" in task for task in tasks)
    return {
        "tasks": len(tasks),
        "positive": positive,
        "negative": len(tasks) - positive,
        "digest": hashlib.sha256(content).hexdigest(),
    }


def _rows() -> list[list[str]]:
    text = (_ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    there = {(row[0], row[1]): row for row in cells if len(row) == 5}
    return [there[key] for key in _ROWS]
