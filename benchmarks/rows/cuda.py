"""Choices that only a GPU can judge; without one there are no rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from ocdnet.config.model import ModelConfig
from ocdnet.models.factory import build_model
from ocdnet.models.losses import DBLoss
from timing import Row, medians

BATCH, SIDE = 16, 640


@dataclass(frozen=True)
class Choice:
    """How a training step is done; the defaults are what the trainer does in bf16."""

    channels_last: bool = True
    precision: torch.dtype = torch.bfloat16
    fused: bool = True
    compiled: bool = False
    bytes_up: bool = True
    """Images go up as pinned uint8 and are normalised there; else as float32."""


def training_step(choice: Choice, device: str, batch: int = BATCH, side: int = SIDE) -> Callable:
    """Upload, forward, loss, backward and Adam on one batch."""
    torch.manual_seed(0)
    model, loss = build_model(ModelConfig(backbone="deformable_resnet18")).train(), DBLoss()
    layout = torch.channels_last if choice.channels_last else torch.contiguous_format
    model = model.to(device, memory_format=layout)
    if choice.compiled:
        model.compile()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, amsgrad=True, fused=choice.fused or None)
    scaler = torch.amp.GradScaler(device, enabled=choice.precision == torch.float16)
    pictures = torch.randint(0, 256, (batch, side, side, 3), dtype=torch.uint8)
    host = pictures if choice.bytes_up else (pictures.permute(0, 3, 1, 2) - 117.0) / 255
    host = host.pin_memory() if device == "cuda" else host
    kernels = (torch.rand(batch, side, side, device=device) > 0.85).to(torch.uint8)
    everywhere, borders = torch.ones_like(kernels), torch.rand(batch, side, side, device=device)

    def step() -> None:
        images = host.to(device, non_blocking=True)
        if choice.bytes_up:
            images = (images.permute(0, 3, 1, 2) - 117.0) / 255
        images = images.contiguous(memory_format=layout)
        half = choice.precision != torch.float32
        with torch.autocast(device, choice.precision if half else None, enabled=half):
            maps = model(images)
        total = loss(maps, kernels, everywhere, borders, everywhere).total
        scaler.scale(total).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()

    return step


ALTERNATIVES = {
    "contiguous instead of channels last": Choice(channels_last=False),
    "fp32 instead of bf16": Choice(precision=torch.float32),
    "fp16 instead of bf16": Choice(precision=torch.float16, fused=False),
    "an optimiser of one kernel a tensor": Choice(fused=False),
    "float32 images from the host": Choice(bytes_up=False),
    "torch.compile (train.compile)": Choice(compiled=True),
}


def choices(rounds: int) -> Iterator[Row]:
    """The trainer's step against one that differs in a single choice, 16 images of 640x640."""
    if not torch.cuda.is_available():
        return
    for what, other in ALTERNATIVES.items():
        works = training_step(Choice(), "cuda"), training_step(other, "cuda")
        ours, theirs = medians(*works, rounds=3 * rounds, warm_up=3)
        pace = f"{BATCH / ours:.0f} images a second, with the other {BATCH / theirs:.0f}"
        yield Row(f"GPU step, against {what}", ours, theirs, 1, None, note=pace)
