"""Feature pyramid neck of DBNet (arXiv 1911.08947, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FPN(nn.Module):
    """Top-down pyramid whose four levels are upsampled to stride 4 and concatenated.

    Args:
        in_channels: channels of the four backbone maps, finest first.
        inner_channels: width of the lateral maps and of the output.
        separable: the 3x3 convolutions are a depthwise one and a 1x1 one each.
    """

    def __init__(
        self, in_channels: Sequence[int], inner_channels: int = 256, separable: bool = False
    ) -> None:
        super().__init__()
        c2, c3, c4, c5 = in_channels
        quarter = inner_channels // 4
        self.out_channels = quarter * 4
        self.in5 = nn.Conv2d(c5, inner_channels, 1, bias=False)
        self.in4 = nn.Conv2d(c4, inner_channels, 1, bias=False)
        self.in3 = nn.Conv2d(c3, inner_channels, 1, bias=False)
        self.in2 = nn.Conv2d(c2, inner_channels, 1, bias=False)
        if separable:
            self.out5, self.out4, self.out3, self.out2 = (
                _separable(inner_channels, quarter) for _ in range(4)
            )
            return
        # One-element Sequentials keep TAO's key names (`out5.0.weight`).
        self.out5 = nn.Sequential(nn.Conv2d(inner_channels, quarter, 3, padding=1, bias=False))
        self.out4 = nn.Sequential(nn.Conv2d(inner_channels, quarter, 3, padding=1, bias=False))
        self.out3 = nn.Sequential(nn.Conv2d(inner_channels, quarter, 3, padding=1, bias=False))
        self.out2 = nn.Conv2d(inner_channels, quarter, 3, padding=1, bias=False)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Four maps at strides 4, 8, 16, 32 -> float[B, out_channels, H/4, W/4]."""
        c2, c3, c4, c5 = features
        p5 = self.in5(c5)
        p4 = self.in4(c4) + _upsample(p5, 2)
        p3 = self.in3(c3) + _upsample(p4, 2)
        p2 = self.in2(c2) + _upsample(p3, 2)
        levels = (
            _upsample(self.out5(p5), 8),
            _upsample(self.out4(p4), 4),
            _upsample(self.out3(p3), 2),
            self.out2(p2),
        )
        return torch.cat(levels, dim=1)


def _separable(in_channels: int, out_channels: int) -> nn.Sequential:
    """What stands for a 3x3 convolution in a network for CPUs, as in MobileNet (1704.04861)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False),
        nn.BatchNorm2d(in_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
    )


def _upsample(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=float(factor), mode="nearest")
