"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def spec_file_option(told: str) -> Callable[[Any], Any]:
    """TAO's `-e SPEC.yaml`.

    Args:
        told: its help.
    """
    return click.option(
        "-e",
        "--experiment_spec_file",
        "--experiment-spec-file",
        "spec_file",
        required=True,
        type=click.Path(path_type=Path),
        help=told,
    )
