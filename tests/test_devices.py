"""Which devices a spec means, on machines with and without GPUs."""

from __future__ import annotations

import logging

import pytest
import torch

from ocdnet import devices
from ocdnet.errors import EnvironmentFault


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
    ],
)
def test_the_gpus_asked_for_are_used(machine, present, num_gpus, gpu_ids, used):
    machine(present)
    assert devices.gpu_indices(num_gpus, gpu_ids) == used
    assert devices.torch_device(num_gpus, gpu_ids) == torch.device("cuda", used[0])


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
