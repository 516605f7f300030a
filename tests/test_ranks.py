"""Of the processes of one run exactly one writes, whoever started them."""

import itertools

import pytest

from ocdnet.ranks import is_rank_zero, launched


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in ("RANK", "TORCHELASTIC_RUN_ID", "SLURM_NTASKS", "NODE_RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


def torchrun(node, local):
    return {
        "TORCHELASTIC_RUN_ID": "none",
        "RANK": str(2 * node + local),
        "LOCAL_RANK": str(local),
        "WORLD_SIZE": "4",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_WORLD_SIZE": "2",
    }


def srun(node, local):
    return {
        "SLURM_JOB_NAME": "ocdnet-train",
        "SLURM_PROCID": str(2 * node + local),
        "SLURM_LOCALID": str(local),
        "SLURM_NTASKS": "4",
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NNODES": "2",
        "SLURM_CPUS_PER_TASK": "8",
    }


def lightning(node, local):
    """Lightning's own launcher: its first process has no LOCAL_RANK."""
    return {"NODE_RANK": str(node)} | ({"LOCAL_RANK": str(local)} if local else {})


def in_a_slurm_shell(node, local):
    """The same in `srun --pty bash`, whose own rank every process inherits."""
    return lightning(node, local) | srun(0, 0) | {"SLURM_JOB_NAME": "bash"}


@pytest.mark.parametrize("launcher", [torchrun, srun, lightning, in_a_slurm_shell])
def test_one_of_four_processes_writes(launcher, monkeypatch):
    writers = 0
    for node, local in itertools.product(range(2), repeat=2):
        for name, value in launcher(node, local).items():
            monkeypatch.setenv(name, value)
        writers += is_rank_zero()
        for name in launcher(node, local):
            monkeypatch.delenv(name)
    assert writers == 1


def test_a_single_process_writes():
    assert launched() is None
    assert is_rank_zero()


@pytest.mark.parametrize(("launcher", "cpus"), [(torchrun, None), (srun, 8)])
def test_what_a_launcher_has_started(launcher, cpus, monkeypatch):
    for name, value in launcher(1, 1).items():
        monkeypatch.setenv(name, value)
    run = launched()
    assert (run.launcher, run.rank, run.local_rank) == (launcher.__name__, 3, 1)
    assert (run.processes, run.here, run.nodes, run.cpus) == (4, 2, 2, cpus)
