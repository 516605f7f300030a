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
from ocdnet.errors import EnvironmentFault
from ocdnet.registry import Action

_EXTRA = {
    "torch": "train",
    "torchvision": "train",
    "pytorch_lightning": "train",
    "onnx": "export",
    "onnxruntime": "deploy",
    "PIL": "data",
}


def run_action(action: Action, spec_file: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Load the spec and run the action; logs and whatever libraries print go to stderr.

    Raises:
        UserError: as the action, or a package of an extra that is not installed.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("ocdnet").setLevel(logging.INFO)
    loaded = spec.load(action.name, spec_file, overrides)
    module, _, function = action.run.partition(":")
    with contextlib.redirect_stdout(sys.stderr):
        try:
            run = getattr(importlib.import_module(module), function)
        except ModuleNotFoundError as error:
            extra = _EXTRA.get((error.name or "").partition(".")[0])
            if extra is None:
                raise
            raise EnvironmentFault(
                "missing-package",
                f"{action.name} needs the package {error.name}",
                hint=f'pip install "ocdnet[{extra}]"',
            ) from error
        result: dict[str, Any] = run(loaded)
    return result
