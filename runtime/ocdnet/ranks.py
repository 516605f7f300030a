"""Which of a run's processes this is, from the environment that launchers set."""

from __future__ import annotations

import os


def is_rank_zero() -> bool:
    """Whether this process is the run's only or first one: the one that writes and prints."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0
