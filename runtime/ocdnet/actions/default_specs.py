"""`ocdnet default_specs`: one experiment file with every key of every action at its default."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ocdnet.config import schema, spec
from ocdnet.errors import SpecError
from ocdnet.files import write_text
from ocdnet.runs.files import EXPERIMENT


def run(results_dir: Path) -> dict[str, Any]:
    """Write `<results_dir>/experiment.yaml`, `???` marking what the user must give.

    Returns:
        `{"spec": path}` of the file.
    """
    path = results_dir / EXPERIMENT
    text = spec.to_yaml(spec.without_extras(schema.defaults(), schema.experiment()))
    if os.path.lexists(path) and not (path.is_file() and path.read_bytes() == text.encode()):
        raise SpecError(
            "file-exists",
            f"{path} exists, and is not written over",
            expected="a folder without one",
            hint="Give another results_dir.",
        )
    write_text(path, text)
    return {"spec": str(path)}
