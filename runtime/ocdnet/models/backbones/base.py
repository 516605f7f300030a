"""What every backbone offers to the neck, the head and the trainer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

STRIDES = (4, 8, 16, 32)
"""Strides of a pyramid: what most backbones give."""


class Backbone(nn.Module):
    """Base of the backbones: from an image to four maps, finest first.

    Attributes:
        out_channels: channels of the four maps.
        strides: image pixels for one step of each map.
        activation_checkpoint: in training, keep no activations inside blocks, but compute them
            again in the backward pass: less memory, the same numbers.
    """

    out_channels: tuple[int, ...]
    strides: tuple[int, ...] = STRIDES
    activation_checkpoint = False

    def run(self, block: nn.Module, *inputs: Any) -> Tensor:
        """A block's output; its activations are kept unless they are to be recomputed."""
        if not (self.activation_checkpoint and self.training):
            return block(*inputs)
        return checkpoint(
            block,
            *inputs,
            use_reentrant=False,
            context_fn=lambda: (contextlib.nullcontext(), _statistics_held(block)),
        )


@contextlib.contextmanager
def _statistics_held(block: nn.Module) -> Iterator[None]:
    """Batch norms use a batch's statistics, but do not add it to their running ones once more.

    With a momentum of zero they do the same work: checkpoint demands that the recomputation saves
    the same tensors as the first pass.
    """
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    held = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, held, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
