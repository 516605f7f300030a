"""The detector: backbone, neck and head."""

from __future__ import annotations

from torch import Tensor, nn


class DBNet(nn.Module):
    """DBNet (arXiv 1911.08947); its state-dict keys are TAO's: backbone.*, neck.*, head.*."""

    def __init__(self, backbone: nn.Module, neck: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.neck, self.head = backbone, neck, head

    def forward(self, x: Tensor) -> Tensor:
        """Normalised image float[B, 3, H, W], H and W multiples of 32 -> the head's maps."""
        return self.head(self.neck(self.backbone(x)))
