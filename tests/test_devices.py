"""Which devices a spec means, on machines with and without GPUs."""

from __future__ import annotations

import logging

import pytest
import torch

from ocdnet import devices
from ocdnet.errors import EnvironmentFault
from ocdnet.ranks import Launched


@pytest.fixture
def machine(monkeypatch):
    """Pretend that this machine has so many GPUs."""

    def with_gpus(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    devices._notice_cpu.cache_clear()
    return with_gpus


def test_taos_defaults_mean_what_is_there(machine):
    machine(0)
    assert devices.gpu_indices(1, [0]) == []
    assert devices.torch_device() == torch.device("cpu")
    machine(1)
    assert devices.gpu_indices(1, [0]) == [0]
    assert devices.torch_device() == torch.device("cuda", 0)


def test_the_cpu_is_noticed_once(machine, caplog):
    machine(0)
    with caplog.at_level(logging.INFO, logger="ocdnet"):
        devices.torch_device()
        devices.torch_device()
    assert [record.getMessage() for record in caplog.records] == [
        "No CUDA device here: running on the CPU."
    ]


@pytest.mark.parametrize(
    ("present", "num_gpus", "gpu_ids", "used"),
    [
        (4, 2, [1, 3], [1, 3]),
        (4, 1, [2], [2]),
        (4, 3, [0], [0, 1, 2]),  # ids left at TAO's default: the first ones
        (4, 1, [0, 1], [0]),
        (4, -1, [0], [0, 1, 2, 3]),
        (1, -1, [0], [0]),
        (0, -1, [0], []),  # all of none
    ],
)
def test_the_gpus_asked_for_are_used(machine, present, num_gpus, gpu_ids, used):
    machine(present)
    assert devices.gpu_indices(num_gpus, gpu_ids) == used
    first = torch.device("cuda", used[0]) if used else torch.device("cpu")
    assert devices.torch_device(num_gpus, gpu_ids) == first


@pytest.mark.parametrize(
    ("present", "num_gpus", "gpu_ids"),
    [(0, 2, [0]), (0, 1, [1]), (1, 2, [0, 1]), (1, 1, [1]), (2, 4, [0])],
)
def test_gpus_that_are_not_there_are_an_error(machine, present, num_gpus, gpu_ids):
    """A demand is never met by fewer devices in silence."""
    machine(present)
    with pytest.raises(EnvironmentFault) as caught:
        devices.gpu_indices(num_gpus, gpu_ids)
    assert caught.value.code == "no-such-gpu"
    assert caught.value.got == f"num_gpus {num_gpus}, gpu_ids {gpu_ids}"
    assert str(present) in caught.value.expected


# ---------------------------------------------------------------- what a launcher has started


@pytest.fixture
def started(monkeypatch):
    """Pretend that a launcher has started so many processes a machine, on so many machines."""

    def by(launcher, here, nodes=1, processes=None):
        run = Launched(launcher, 0, 0, processes or here * nodes, here, nodes)
        monkeypatch.setattr(devices, "launched", lambda: run)

    monkeypatch.setattr(devices, "launched", lambda: None)
    return by


def test_alone_the_spec_decides(machine, started, monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "host0")  # started by hand on each machine
    machine(4)
    assert devices.training_devices(2, [0], 3) == devices.Devices([0, 1], 2, 3)
    assert devices.training_devices(2, [0], 3).world == 6
    machine(0)
    assert devices.training_devices(1, [0], 1) == devices.Devices([], 1, 1)


@pytest.mark.parametrize("launcher", ["torchrun", "srun"])
@pytest.mark.parametrize(
    ("gpus", "asked", "expected"),
    [
        (0, (1, [0], 1), devices.Devices([], 4, 2)),  # CPUs, as many processes as started
        (0, (-1, [0], 2), devices.Devices([], 4, 2)),
        (4, (1, [0], 1), devices.Devices([0, 1, 2, 3], 4, 2)),  # TAO's defaults
        (8, (4, [4, 5, 6, 7], 2), devices.Devices([4, 5, 6, 7], 4, 2)),
        (4, (-1, [0], 1), devices.Devices([0, 1, 2, 3], 4, 2)),
    ],
)
def test_a_launcher_has_decided(machine, started, launcher, gpus, asked, expected):
    machine(gpus)
    started(launcher, 4, 2)
    assert devices.training_devices(*asked) == expected


@pytest.mark.parametrize(
    ("asked", "key"),
    [
        ((2, [0, 1], 2), "train.num_gpus"),
        ((-1, [0], 1), "train.num_gpus"),
        ((4, [0], 3), "train.num_nodes"),
    ],
)
def test_a_demand_that_differs_is_an_error(machine, started, asked, key):
    machine(8)
    started("torchrun", 4, 2)
    with pytest.raises(EnvironmentFault, match=key) as caught:
        devices.training_devices(*asked)
    assert caught.value.code == "launch-mismatch"
    assert f"Set {key}=" in caught.value.hint


@pytest.mark.parametrize(("here", "processes"), [(None, 4), (2, 3)])
def test_unequal_machines_are_an_error(machine, started, here, processes):
    machine(0)
    started("srun", here, 2, processes)
    with pytest.raises(EnvironmentFault) as caught:
        devices.training_devices(1, [0], 1)
    assert "--ntasks-per-node" in caught.value.hint


def test_more_processes_than_gpus_are_an_error(machine, started):
    machine(2)
    started("torchrun", 4)
    with pytest.raises(EnvironmentFault) as caught:
        devices.training_devices(1, [0], 1)
    assert caught.value.code == "no-such-gpu"
