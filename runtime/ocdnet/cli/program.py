"""How the user calls us, for the commands that we print."""

from __future__ import annotations

import os

from ocdnet.install import PROGRAM


def program() -> str:
    """The start of a command line that runs ocdnet, quoted for a shell.

    `ocdnet` where it is installed; what the launcher tells, e.g.
    `uv run --script /skill/scripts/ocdnet.py`, where it runs from a skill's folder.
    """
    return os.environ.get(PROGRAM) or "ocdnet"
