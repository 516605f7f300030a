"""Which of a run's processes this is, from the environment that launchers set."""

from __future__ import annotations

import os


def is_rank_zero() -> bool:
    """Whether this process is the run's only or first one: the one that writes and prints.

    torchrun sets RANK, srun SLURM_PROCID; what Lightning starts has its machine's NODE_RANK and a
    LOCAL_RANK.
    """
    for name in ("RANK", "SLURM_PROCID"):
        if name in os.environ:
            return int(os.environ[name]) == 0
    return all(int(os.environ.get(name, "0")) == 0 for name in ("NODE_RANK", "LOCAL_RANK"))
