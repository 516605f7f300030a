"""Differentiable-binarization head (arXiv 1911.08947, sections 3.2 and 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class DBHead(nn.Module):
    """Predicts the shrink map, the threshold map and their approximate binary map.

    Args:
        in_channels: channels of the neck's output.
        k: amplification of the step function; the paper's 50.
        stride: image pixels for one step of the neck's output, 2 or 4.
    """

    def __init__(self, in_channels: int, k: int = 50, stride: int = 4) -> None:
        super().__init__()
        self.k = k
        self.binarize = _branch(in_channels, stride)
        self.thresh = _branch(in_channels, stride)

    def forward(self, x: Tensor | Sequence[Tensor]) -> Tensor:
        """float[B, C, H/stride, W/stride] -> maps at network resolution.

        In `cpu_forms` x may be the neck's levels, which are of one type.
        Training: float32[B, 3, H, W] = shrink logits, threshold in 0..1, binary in 0..1.
        Evaluation: float32[B, 1, H, W], the probability of (shrunk) text.
        """
        # bfloat16 has float32's range: its convolutions may stay in it, at half the step's time on
        # a CPU. float16 has not. The maps are of full precision always: sigmoid(50 x) saturates.
        first = x if isinstance(x, Tensor) else x[0]
        kind = first.device.type
        wide = first.dtype == torch.bfloat16 and torch.is_autocast_enabled(kind)
        with torch.autocast(device_type=kind, dtype=torch.bfloat16, enabled=wide):
            x = x.float() if isinstance(x, Tensor) and not wide else x
            logits = self.binarize(x)
            threshold = self.thresh(x) if self.training else None
        with torch.autocast(device_type=kind, enabled=False):
            logits = logits.float()
            if threshold is None:
                return logits.sigmoid()
            threshold = threshold.float().sigmoid()
            binary = torch.sigmoid(self.k * (logits.sigmoid() - threshold))
            return torch.cat((logits, threshold, binary), dim=1)


def _branch(in_channels: int, stride: int) -> nn.Sequential:
    """3x3 convolution, then stride-2 transposed convolutions to full resolution; no sigmoid."""
    width = in_channels // 4
    doubling = [
        nn.ConvTranspose2d(width, width, 2, stride=2),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]
    branch = nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        *(doubling if stride == 4 else ()),
        nn.ConvTranspose2d(width, 1, 2, stride=2),
    )
    for layer in branch:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            nn.init.constant_(layer.bias, 1e-4)
    return branch
