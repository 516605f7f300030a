"""Which devices a run uses."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch

from ocdnet.errors import EnvironmentFault
from ocdnet.hardware import cpus
from ocdnet.ranks import Launched, launched
from ocdnet.spec_keys import NUM_GPUS, NUM_NODES

LOG = logging.getLogger("ocdnet")


def gpu_indices(num_gpus: int, gpu_ids: Sequence[int]) -> list[int]:
    """The CUDA devices that the spec asks for; none means the CPU.

    TAO's defaults (one GPU, index 0) mean "a GPU if there is one". Only more GPUs or other indices
    are demands; -1 means all that are visible. Where gpu_ids has another length than num_gpus, the
    first GPUs are taken.

    Raises:
        EnvironmentFault: a demand that this machine cannot meet.
    """
    present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if num_gpus < 0:
        num_gpus = max(1, present)
    wanted = list(gpu_ids) if len(gpu_ids) == num_gpus else list(range(num_gpus))
    if all(index < present for index in wanted):
        return wanted
    if wanted == [0]:
        _notice_cpu()
        fit_threads()
        return []
    raise EnvironmentFault(
        "no-such-gpu",
        "This machine does not have the GPUs that the spec asks for",
        got=f"num_gpus {num_gpus}, gpu_ids {list(gpu_ids)}",
        expected=f"at most {present} CUDA device(s)",
        hint="Leave num_gpus at 1 and gpu_ids at [0] to use what is there.",
    )


def fit_threads() -> None:
    """Let torch compute with the threads that this process should have."""
    torch.set_num_threads(min(_own_threads(), cpus()))


def torch_device(num_gpus: int = 1, gpu_ids: Sequence[int] = (0,)) -> torch.device:
    """The one device of an action that runs in a single process; raises as `gpu_indices`."""
    indices = gpu_indices(num_gpus, gpu_ids)
    return torch.device("cuda", indices[0]) if indices else torch.device("cpu")


@dataclass(frozen=True)
class Devices:
    """What one training run computes on.

    Attributes:
        gpus: CUDA indices on each machine, one a process; none: the CPU.
        processes: on each machine.
        nodes: machines.
    """

    gpus: list[int]
    processes: int
    nodes: int

    @property
    def world(self) -> int:
        """Processes of the run."""
        return self.processes * self.nodes


def training_devices(num_gpus: int, gpu_ids: Sequence[int], num_nodes: int) -> Devices:
    """The devices of a training run; where torchrun or srun started it, one for each process.

    Several processes on a machine without GPUs share its CPUs.

    Raises:
        EnvironmentFault: a demand that this machine cannot meet, or that differs from what the
            launcher has started.
    """
    run = launched()
    if run is None:
        gpus = gpu_indices(num_gpus, gpu_ids)
        if num_nodes > 1 and not os.environ.get("MASTER_ADDR"):
            raise _no_launcher(num_nodes, max(1, len(gpus)))
        return Devices(gpus, max(1, len(gpus)), num_nodes)
    here = _here(run)
    if num_gpus == 1 and here > 1:  # TAO's default: as many as there are processes
        num_gpus = here if torch.cuda.is_available() else 1
    gpus = gpu_indices(num_gpus, gpu_ids)
    if gpus and len(gpus) != here:
        raise _mismatch(run, NUM_GPUS, len(gpus), here)
    if num_nodes not in (1, run.nodes):
        raise _mismatch(run, NUM_NODES, num_nodes, run.nodes)
    return Devices(gpus, here, run.nodes)


def _no_launcher(nodes: int, processes: int) -> EnvironmentFault:
    command = (
        f"torchrun --nnodes={nodes} --node-rank=RANK --nproc-per-node={processes} "
        "--master-addr=HOST0 --master-port=29500 -m ocdnet.cli.main train -e SPEC.yaml"
    )
    return EnvironmentFault(
        "no-launcher",
        f"'{NUM_NODES}' is {nodes}, but nothing has started the processes of the other machines",
        got="neither torchrun nor srun, and no MASTER_ADDR",
        expected=f"a launcher that starts {nodes} machines",
        hint=f"On each machine, RANK from 0: `{command}` (docs/multi-node.md has Slurm and "
        f"Kubernetes, too); for this machine alone set {NUM_NODES}=1.",
    )


def _here(run: Launched) -> int:
    """Processes of each machine; they must be as many on all."""
    here = 1 if run.here is None and run.processes == 1 else run.here
    if here is not None and here * run.nodes == run.processes:
        return here
    option = "--ntasks-per-node" if run.launcher == "srun" else "--nproc-per-node"
    raise EnvironmentFault(
        "launch-mismatch",
        f"{run.launcher} did not say how many processes it starts on each machine, or their number "
        "differs between machines",
        got=f"{run.processes} processes on {run.nodes} machine(s)",
        expected=f"the same number on each, given by {option}",
        hint=f"Start the job with {option}.",
    )


def _mismatch(run: Launched, key: str, asked: int, started: int) -> EnvironmentFault:
    unit = "process(es) on this machine" if key == NUM_GPUS else "machine(s)"
    return EnvironmentFault(
        "launch-mismatch",
        f"{key!r} differs from what {run.launcher} has started",
        got=f"{key} {asked}, and {started} {unit}",
        expected="as many of one as of the other",
        hint=f"Set {key}={started}, or start as many as the spec says (docs/multi-node.md).",
    )


@cache
def _own_threads() -> int:
    """Threads that torch chose by itself, which knows of no container's quota."""
    return torch.get_num_threads()


@cache
def _notice_cpu() -> None:
    LOG.info("No CUDA device here: running on the CPU.")
