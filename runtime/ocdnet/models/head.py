"""Differentiable-binarization head (arXiv 1911.08947, sections 3.2 and 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DBHead(nn.Module):
    """Predicts the shrink map, the threshold map and their approximate binary map.

    Args:
        in_channels: channels of the neck's output.
        k: amplification of the step function; the paper's 50.
    """

    def __init__(self, in_channels: int, k: int = 50) -> None:
        super().__init__()
        self.k = k
        self.binarize = _branch(in_channels)
        self.thresh = _branch(in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """float[B, C, H/4, W/4] -> maps at network resolution.

        Training: float32[B, 3, H, W] = shrink logits, threshold in 0..1, binary in 0..1.
        Evaluation: float32[B, 1, H, W], the probability of (shrunk) text.
        """
        # Full precision whatever autocast says: sigmoid(50 x) saturates at half precision.
        with torch.autocast(device_type=x.device.type, enabled=False):
            x = x.float()
            logits = self.binarize(x)
            if not self.training:
                return logits.sigmoid()
            threshold = self.thresh(x).sigmoid()
            binary = torch.sigmoid(self.k * (logits.sigmoid() - threshold))
            return torch.cat((logits, threshold, binary), dim=1)


def _branch(in_channels: int) -> nn.Sequential:
    """3x3 convolution, then two stride-2 transposed convolutions to full resolution; no sigmoid."""
    width = in_channels // 4
    branch = nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(width, width, 2, stride=2),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(width, 1, 2, stride=2),
    )
    for layer in branch:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            nn.init.constant_(layer.bias, 1e-4)
    return branch
