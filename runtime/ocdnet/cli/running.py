"""Runs one action of the registry for the command line."""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ocdnet.config import spec
from ocdnet.registry import Action


def run_action(action: Action, spec_file: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Load the spec and run the action; logs and whatever libraries print go to stderr.

    Raises:
        UserError: as the action.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("ocdnet").setLevel(logging.INFO)
    loaded = spec.load(action.name, spec_file, overrides)
    module, _, function = action.run.partition(":")
    with contextlib.redirect_stdout(sys.stderr):
        run = getattr(importlib.import_module(module), function)
        result: dict[str, Any] = run(loaded)
    return result
