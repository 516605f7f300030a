"""The first two stages of ConvNeXt (arXiv 2201.03545), which open FAN's hybrid backbones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-6
"""Added to the variance by every layer norm of ConvNeXt and FAN."""


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of float[B, C, H, W], at every pixel apart.

    Args:
        channels: C.
        sample: divide by the sample variance, with C - 1 in its denominator. TAO's network does,
            and its weights were trained so, wherever the input lies channels last: in every norm
            but the stem's.
    """

    def __init__(self, channels: int, *, sample: bool) -> None:
        super().__init__(channels, eps=EPS)
        self.sample = sample
        self.rescale()

    def rescale(self) -> None:
        """Take the number of channels that `normalized_shape` says."""
        (channels,) = self.normalized_shape
        # (x - u) / sqrt(v C / (C - 1) + e) = s (x - u) / sqrt(v + s^2 e), s^2 = (C - 1) / C
        self.scale = ((channels - 1) / channels) ** 0.5 if self.sample else 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; shape and order of axes stay."""
        out = F.layer_norm(
            x.permute(0, 2, 3, 1),
            self.normalized_shape,
            self.weight * self.scale,
            self.bias,
            self.eps * self.scale**2,
        )
        return out.permute(0, 3, 1, 2)


class PointwiseMlp(nn.Module):
    """Two layers at every pixel with GELU between them, as 1x1 convolutions."""

    def __init__(self, channels: int, expansion: int = 4) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, expansion * channels, 1)
        self.fc2 = nn.Conv2d(expansion * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """float[B, C, H, W] -> the same shape."""
        return self.fc2(F.gelu(self.fc1(x)))


class ConvNeXtBlock(nn.Module):
    """7x7 depthwise convolution, layer norm and an MLP, with a shortcut around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # Layer scale starts near zero: at first the block passes its input on.
        self.gamma = nn.Parameter(torch.full((channels,), 1e-6))
        self.conv_dw = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = ChannelNorm(channels, sample=True)
        self.mlp = PointwiseMlp(channels)

    def forward(self, x: Tensor) -> Tensor:
        """float[B, C, H, W] -> the same shape."""
        return x + self.gamma.view(1, -1, 1, 1) * self.mlp(self.norm(self.conv_dw(x)))


class ConvNeXtStage(nn.Module):
    """Blocks at one resolution, after halving the one before where the channels change.

    It only holds the layers; FAN runs them one by one.
    """

    def __init__(self, in_channels: int, channels: int, depth: int) -> None:
        super().__init__()
        self.downsample: nn.Module = nn.Identity()
        if in_channels != channels:
            self.downsample = nn.Sequential(
                ChannelNorm(in_channels, sample=True), nn.Conv2d(in_channels, channels, 2, stride=2)
            )
        self.blocks = nn.ModuleList(ConvNeXtBlock(channels) for _ in range(depth))


class ConvNeXtStem(nn.Module):
    """Patches of the image and two stages over them; it only holds the layers, too.

    Args:
        patch: side of a patch in pixels, the stride of the first stage.
        channels: of the two stages.
        depths: their blocks.
    """

    def __init__(self, patch: int, channels: tuple[int, int], depths: tuple[int, int]) -> None:
        super().__init__()
        first, second = channels
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, patch, stride=patch), ChannelNorm(first, sample=False)
        )
        self.stages = nn.ModuleList(
            [ConvNeXtStage(first, first, depths[0]), ConvNeXtStage(first, second, depths[1])]
        )
