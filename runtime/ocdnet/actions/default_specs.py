"""`ocdnet default_specs`: one experiment file with every key of every action at its default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ocdnet.config import schema, spec
from ocdnet.files import write_text
from ocdnet.runs.files import EXPERIMENT


def run(results_dir: Path) -> dict[str, Any]:
    """Write `<results_dir>/experiment.yaml`, `???` marking what the user must give.

    Returns:
        `{"spec": path}` of the file.
    """
    path = results_dir / EXPERIMENT
    write_text(path, spec.to_yaml(spec.without_extras(schema.defaults(), schema.experiment())))
    return {"spec": str(path)}
