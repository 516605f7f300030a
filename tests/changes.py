"""What tests change in an `ocdnet` that runs as a process of its own (small_ocdnet.py)."""

from __future__ import annotations

import datetime
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import processes
from ocdnet.actions import train
from ocdnet.data.dataset import TrainDataset
from ocdnet.devices import Devices
from ocdnet.ranks import launched
from ocdnet.training import process_group, strategy
from ocdnet.training.module import DetectionModule

Change = Callable[[], None]
_MADE: dict[str, Change] = {}


def _change(function: Change) -> Change:
    _MADE[function.__name__] = function
    return function


def make_changes() -> None:
    """Make those that the environment names, in order."""
    for name in os.environ.get(processes.CHANGES, "").split():
        _MADE[name]()


@_change
def say_when_it_waits() -> None:
    """A line on stdout when a process begins to listen for the others."""
    heard = process_group._heard

    def told(*args):
        print("up", file=sys.__stdout__, flush=True)
        return heard(*args)

    process_group._heard = told


@_change
def workers_are_killed() -> None:
    """As the kernel does when memory runs out."""

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    TrainDataset.__getitem__ = die


def _wait_before_steps(seconds: float) -> None:
    step = DetectionModule.training_step

    def slow(self, *args):
        time.sleep(seconds)
        return step(self, *args)

    DetectionModule.training_step = slow


@_change
def wait_200_ms() -> None:
    """Before each step: a test has the time to act between two."""
    _wait_before_steps(0.2)


@_change
def wait_300_ms() -> None:
    """The same, of several processes."""
    _wait_before_steps(0.3)


@_change
def hang() -> None:
    """In the first step."""
    _wait_before_steps(1000)


@_change
def be_impatient() -> None:
    """Wait 10 seconds for another process, no longer."""
    process_group.TIMEOUT = strategy.TIMEOUT = datetime.timedelta(seconds=10)


@_change
def two_by_lightning() -> None:
    """As many processes as a machine with so many GPUs would have, on the CPU."""
    train.training_devices = lambda *_: Devices([], 2, 1)


@_change
def without_strategy_check() -> None:
    """Users are refused FSDP and DeepSpeed without a GPU; the same code runs on the CPU."""
    train.check_strategy = lambda *_: None


@_change
def record_images() -> None:
    """Write the paths that each process trains on and validates on into the folder SEEN."""
    whole = DetectionModule.training_step, DetectionModule.validation_step

    def note(name, paths):
        seen = Path(os.environ["SEEN"]) / f"{name}{launched().rank}"
        with seen.open("a") as file:
            file.writelines(f"{path}\n" for path in paths)

    def train_step(self, batch, index):
        note(f"train{self.current_epoch}.", batch.paths)
        return whole[0](self, batch, index)

    def validate(self, batch, index):
        note(f"test{self.current_epoch}.", [one.image for one in batch.annotations])
        return whole[1](self, batch, index)

    DetectionModule.training_step, DetectionModule.validation_step = train_step, validate


@_change
def same_halves() -> None:
    """Batch normalisation by its running statistics, and each image twice in a row.

    The processes of a run then have the same halves of a batch.
    """
    item, start = TrainDataset.__getitem__, DetectionModule.on_train_epoch_start
    TrainDataset.__getitem__ = lambda self, key: item(self, (key[0], key[1] // 2 * 2))

    def still(self):
        start(self)
        for layer in self.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.eval()

    DetectionModule.on_train_epoch_start = still


@_change
def tell_share() -> None:
    """Say which share of the network this process holds."""
    start = DetectionModule.on_train_start

    def tell(self):
        start(self)
        kept = sum(getattr(p, "to_local", lambda p=p: p)().numel() for p in self.parameters())
        sys.stderr.write(f"kept {kept / sum(p.numel() for p in self.parameters()):.2f} of all\n")

    DetectionModule.on_train_start = tell


@_change
def deepspeed_on_cpu() -> None:
    """In bf16, which CPUs have; DS_ACCELERATOR says so to the package itself."""
    from pytorch_lightning.accelerators import CPUAccelerator
    from pytorch_lightning.strategies import deepspeed

    deepspeed.CUDAAccelerator = CPUAccelerator
    deepspeed._validate_device_index_selection = lambda *_: None
    deepspeed.DeepSpeedStrategy.root_device = property(lambda _: torch.device("cpu", 0))
    torch.cuda.set_device = lambda *_: None
    whole = strategy.deepspeed_config
    half = {"torch_autocast": {"enabled": True, "dtype": "bfloat16"}}
    strategy.deepspeed_config = lambda config: whole(config) | half


@_change
def be_exact() -> None:
    """Runs comparable step by step, in full precision."""
    from gpu.device import steady

    steady(pytest.MonkeyPatch())
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


@_change
def one_as_several() -> None:
    """A world of one process is none of its own; here it counts as several."""

    class One(int):
        __hash__ = int.__hash__

        def __eq__(self, other):
            return False

    def share(self):
        strategy.share_buffers(self.model)
        kind = type(self.trainer.strategy).__name__
        backend = torch.distributed.get_backend()
        sys.stderr.write(f"{kind} over {backend} on {self.device.type}\n")

    Devices.world = property(lambda _: One(1))
    DetectionModule.on_validation_start = share


@_change
def little_gpu_memory() -> None:
    """128 MiB of the GPU's memory."""
    torch.cuda.set_per_process_memory_fraction(2**27 / torch.cuda.mem_get_info()[1])
