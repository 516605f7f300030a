"""The device of these tests, and what they share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import support
from ocdnet.training.module import DetectionModule

DEVICE = os.environ.get("OCDNET_TEST_DEVICE", "cuda")
"""`cpu` rehearses the tests where there is no GPU."""

needs_cuda = pytest.mark.skipif(DEVICE == "cpu", reason="a CPU has nothing of the kind")

# Adam makes whole steps of rounding errors, too.
SGD = (
    "train.optimizer.type=SGD",
    "train.optimizer.args.momentum=0.9",
    "train.optimizer.args.lr=0.01",
)
LAST = "model_epoch_001_step_00008.pth"


def steady(patch: Any) -> None:
    """Make runs comparable step by step, until the patch is undone; deform from the first step on.

    Batch statistics of the small network turn a rounding error into a per cent within 8 steps, and
    offsets of zero are where a step could be taken either way.
    """
    start, made = DetectionModule.on_train_epoch_start, support.SmallBackbone.__init__

    def still(self: DetectionModule) -> None:
        start(self)
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()

    def moved(self: support.SmallBackbone) -> None:
        made(self)
        for name, layer in self.named_modules():
            if name.endswith("conv2_offset"):
                nn.init.normal_(layer.weight, std=0.05)
                nn.init.uniform_(layer.bias, 0.2, 0.8)

    patch.setattr(DetectionModule, "on_train_epoch_start", still)
    patch.setattr(support.SmallBackbone, "__init__", moved)


@dataclass(frozen=True)
class Run:
    """A training: its folder, what it returned, each step's loss, its module."""

    folder: Path
    result: dict[str, Any]
    losses: list[float]
    module: DetectionModule

    def last(self) -> dict[str, Any]:
        """The newest checkpoint, on the CPU."""
        return on_cpu(self.folder / "ocd_model_latest.pth")


@contextmanager
def without_gpu() -> Iterator[None]:
    """As on a machine that has none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setattr(torch.cuda, "device_count", lambda: 0)
        yield


def train(scenes: Path, out: Path, *more: str) -> Run:
    """As `support.train`, on DEVICE."""
    return _train(scenes, out, *more, device=DEVICE)


def train_without_gpu(scenes: Path, out: Path, *more: str) -> Run:
    """As `support.train`, on the CPU."""
    with without_gpu():
        return _train(scenes, out, *more, device="cpu")


def _train(scenes: Path, out: Path, *more: str, device: str) -> Run:
    losses, modules = [], []
    whole = DetectionModule.training_step

    def step(self: DetectionModule, *batch: Any) -> Tensor:
        assert {p.device.type for p in self.parameters()} == {device}
        loss = whole(self, *batch)
        losses.append(float(loss.detach()))
        modules[:] = [self]
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DetectionModule, "training_step", step)
        result = support.train(scenes, out, *more)
    return Run(out / "train", result, losses, *(modules or [None]))


def on_cpu(path: Path) -> dict[str, Any]:
    """A checkpoint, whatever it was written on."""
    return torch.load(path, map_location="cpu", weights_only=True)


def distance(found: Tensor, expected: Tensor) -> float:
    """|found - expected| / |expected|, by the Euclidean norm."""
    found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
    return float((found - expected).norm() / expected.norm())


def flat(tensors: dict[str, Tensor]) -> Tensor:
    """All entries of a state dict but the counters, as one vector in the keys' order."""
    floats = [tensors[key] for key in sorted(tensors) if tensors[key].is_floating_point()]
    return torch.cat([tensor.detach().cpu().double().flatten() for tensor in floats])
