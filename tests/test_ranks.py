"""Of the processes of one run exactly one writes, whoever started them."""

import itertools

import pytest

from ocdnet.ranks import is_rank_zero

NAMES = ("RANK", "SLURM_PROCID", "NODE_RANK", "LOCAL_RANK")


def torchrun(node, local):
    return {"RANK": str(2 * node + local), "LOCAL_RANK": str(local)}


def srun(node, local):
    return {"SLURM_PROCID": str(2 * node + local)}


def lightning(node, local):
    """Lightning's own launcher: its first process has no LOCAL_RANK."""
    return {"NODE_RANK": str(node)} | ({"LOCAL_RANK": str(local)} if local else {})


@pytest.mark.parametrize("launcher", [torchrun, srun, lightning])
def test_one_of_four_processes_writes(launcher, monkeypatch):
    writers = 0
    for node, local in itertools.product(range(2), repeat=2):
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        for name, value in launcher(node, local).items():
            monkeypatch.setenv(name, value)
        writers += is_rank_zero()
    assert writers == 1


def test_a_single_process_writes(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    assert is_rank_zero()
