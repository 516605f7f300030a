"""This process's place in its run, from the environment that launchers set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from ocdnet.hardware import cpus  # noqa: F401 - users of ours import it from here

SLURM_TASKS = "SLURM_NTASKS"
"""Variable that makes a process a task of a Slurm job, to Lightning as to `launched`."""


@dataclass(frozen=True)
class Launched:
    """The processes of one run that a launcher has started, and this one's place among them.

    Attributes:
        launcher: `torchrun` or `srun`.
        rank: this process among all.
        local_rank: this process among those of its machine.
        processes: all of them.
        here: those of this machine; None where the launcher does not say.
        nodes: machines.
        cpus: CPUs that the launcher gave each process; None: they share the machine's.
    """

    launcher: str
    rank: int
    local_rank: int
    processes: int
    here: int | None
    nodes: int
    cpus: int | None = None


def launched() -> Launched | None:
    """What torchrun or srun has started; None where this process was started by itself.

    By the same variables as Lightning, which ignores Slurm's in a shell (a job named bash or
    interactive).
    """
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        return Launched(
            "torchrun",
            rank=int(environment["RANK"]),
            local_rank=int(environment["LOCAL_RANK"]),
            processes=int(environment["WORLD_SIZE"]),
            here=int(environment["LOCAL_WORLD_SIZE"]),
            nodes=int(environment["GROUP_WORLD_SIZE"]),
        )
    shell = environment.get("SLURM_JOB_NAME") in ("bash", "interactive")
    if SLURM_TASKS in environment and "SLURM_PROCID" in environment and not shell:
        return Launched(
            "srun",
            rank=int(environment["SLURM_PROCID"]),
            local_rank=int(environment.get("SLURM_LOCALID", "0")),
            processes=int(environment[SLURM_TASKS]),
            here=_number(environment, "SLURM_NTASKS_PER_NODE"),
            nodes=int(environment.get("SLURM_NNODES", "1")),
            cpus=_number(environment, "SLURM_CPUS_PER_TASK"),
        )
    return None


def _number(environment: Mapping[str, str], name: str) -> int | None:
    return int(environment[name]) if name in environment else None


def is_rank_zero() -> bool:
    """Whether this process is the run's only or first one: the one that writes and prints.

    Processes that Lightning starts have NODE_RANK and LOCAL_RANK; other launchers set RANK.
    """
    run = launched()
    if run is not None:
        return run.rank == 0
    return all(int(os.environ.get(name, "0")) == 0 for name in ("RANK", "NODE_RANK", "LOCAL_RANK"))
