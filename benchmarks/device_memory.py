"""How much memory a GPU needs to train a backbone, by strategy and number of GPUs.

Computed, not measured on a GPU: parameters, gradients and optimiser states from the network's size;
activations as what autograd keeps of one image's forward pass, with torchvision's deformable
convolution, as on CUDA. The tensors are fake: no numbers are computed, so it takes seconds.

    python benchmarks/device_memory.py --side 640
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torchvision.ops import deform_conv2d

from ocdnet.config.model import ModelConfig
from ocdnet.models import deform_conv
from ocdnet.models.factory import build_model
from ocdnet.training.strategy import BUCKET

BACKBONES = ("deformable_resnet18", "deformable_resnet50", "fan_tiny_8_p4_hybrid")
"""What TAO documents."""
MB = 1e6
FLOAT = 4
ADAM_STATES = 3
"""Moments, squares and, with amsgrad (TAO's default), their maxima."""


@dataclass(frozen=True)
class Needs:
    """A network's share of memory in MB.

    Attributes:
        parameters: of the whole network, in full precision.
        part: of its largest part that FSDP gathers at once.
        image: what autograd keeps of one image, in full precision.
        image_recomputed: the same with model.activation_checkpoint.
    """

    parameters: float
    part: float
    image: float
    image_recomputed: float

    def fixed(self, strategy: str, gpus: int) -> float:
        """MB a GPU beside activations: parameters, gradients, optimiser states, buckets."""
        whole = self.parameters * (1 + 1 + ADAM_STATES)
        if strategy == "ddp":
            buckets = self.parameters if gpus > 1 else 0  # DDP sends gradients from copies
            return whole + buckets
        if strategy == "fsdp":
            return whole / gpus + 2 * self.part  # gathered, with its gradients
        # The rest is in the host's memory; parameters are gathered, all of them at the most.
        return self.parameters + BUCKET * FLOAT / MB


def needs(backbone: str, side: int) -> Needs:
    """What a backbone's network needs for a square image of so many pixels a side."""
    model = build_model(ModelConfig(backbone=backbone)).train()
    whole = _kept(model, side)
    model.backbone.activation_checkpoint = True
    return Needs(
        parameters=_size(model.parameters()),
        part=max(_size(part.parameters()) for part in model.children()),
        image=whole,
        image_recomputed=_kept(model, side),
    )


def _size(tensors: Iterable[Tensor]) -> float:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / MB


def _kept(model: nn.Module, side: int) -> float:
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    storages: dict[int, Any] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage  # held, so that no other gets its address
        return tensor

    def as_on_cuda(
        x: Tensor,
        offset: Tensor,
        mask: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        **geometry: int,
    ) -> Tensor:
        return deform_conv2d(x, offset, weight, bias, mask=mask, **geometry)

    before, deform_conv.deform_conv2d_cpu = deform_conv.deform_conv2d_cpu, as_on_cuda
    try:
        with fake, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(torch.empty(1, 3, side, side))
    finally:
        deform_conv.deform_conv2d_cpu = before
    return sum(s.nbytes() for address, s in storages.items() if address not in own) / MB


def rows(side: int = 640) -> Iterator[str]:
    """The lines of the table in docs/multi-node.md."""
    for backbone in BACKBONES:
        one = needs(backbone, side)
        numbers = [
            one.parameters,
            one.fixed("ddp", 1),
            one.fixed("ddp", 2),
            *(one.fixed("fsdp", gpus) for gpus in (2, 8)),
            one.fixed("deepspeed_stage_3_offload", 2),
            one.image,
            one.image_recomputed,
        ]
        yield f"| {backbone} | " + " | ".join(f"{number:.0f}" for number in numbers) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=640, help="of the crop, in pixels")
    for row in rows(parser.parse_args().side):
        print(row)


if __name__ == "__main__":
    main()
