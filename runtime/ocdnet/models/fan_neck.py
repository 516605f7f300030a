"""TAO's neck for backbones whose maps are no pyramid: SegFormer's decoder (arXiv 2105.15203)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class FANNeck(nn.Module):
    """Four maps, each projected and brought to the size of the first, concatenated and fused.

    Projection, bilinear resizing and the fusing 1x1 convolution are linear, so they may change
    places: each map goes through the product of its two matrices before it is resized, and a sum
    replaces the concatenation. For a 736x1280 image that takes a fifth of the time on a CPU, and
    no map of 3072 channels (720 MB) exists. The layers hold the weights under TAO's names; they
    are not called themselves.

    Args:
        in_channels: channels of the four backbone maps, finest first.
        width: channels of each projection and of the output.
    """

    def __init__(self, in_channels: Sequence[int], width: int = 768) -> None:
        super().__init__()
        c1, c2, c3, c4 = in_channels
        self.out_channels = width
        self.linear_c4 = nn.ModuleDict({"proj": nn.Linear(c4, width)})
        self.linear_c3 = nn.ModuleDict({"proj": nn.Linear(c3, width)})
        self.linear_c2 = nn.ModuleDict({"proj": nn.Linear(c2, width)})
        self.linear_c1 = nn.ModuleDict({"proj": nn.Linear(c1, width)})
        fusion = {"conv": nn.Conv2d(4 * width, width, 1, bias=False), "norm": nn.BatchNorm2d(width)}
        self.linear_fuse = nn.ModuleDict(fusion)
        self.dropout = nn.Dropout2d(0.1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Four maps, finest first -> float[B, out_channels, H, W] at the size of the first."""
        levels = (self.linear_c1, self.linear_c2, self.linear_c3, self.linear_c4)
        projections = [level["proj"] for level in levels]
        widths = [projection.out_features for projection in reversed(projections)]
        # TAO concatenates the coarsest map first.
        shares = reversed(self.linear_fuse["conv"].weight.flatten(1).split(widths, dim=1))
        first, *coarse = (
            _project(x, share @ projection.weight, share @ projection.bias)
            for x, projection, share in zip(features, projections, shares, strict=True)
        )
        for level in coarse:
            first = first + F.interpolate(level, first.shape[2:], mode="bilinear")
        return self.dropout(F.relu(self.linear_fuse["norm"](first)))


def _project(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 1x1 convolution that gives channels last, as the resizing keeps them."""
    return F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)
