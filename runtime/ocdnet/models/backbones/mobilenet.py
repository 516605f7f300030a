"""MobileNet backbones: torchvision's layers under torchvision's names, so its weights load by key.

Their graphs hold no deformable convolution, and ImageNet weights of theirs are easy to come by.
"""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models import mobilenet_v2 as torchvision_v2
from torchvision.models import mobilenet_v3_large as torchvision_v3_large

from ocdnet.config.model import ModelConfig
from ocdnet.models.backbones.base import Backbone

_MOMENTUM = 0.1
"""Of the running statistics, as in ResNets. torchvision's 0.01 of MobileNetV3 is for long training:
after 350 steps a detector found nothing by them, but all words by the pictures' own statistics."""


class MobileNet(Backbone):
    """The layers of a torchvision MobileNet, read at four of them.

    Args:
        features: torchvision's `features`.
        taps: the last layer at strides 4, 8, 16 and 32, and the channels it gives.
    """

    def __init__(self, features: nn.Sequential, taps: dict[int, int]) -> None:
        super().__init__()
        for layer in features.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = _MOMENTUM
        self.features, self.taps = features, tuple(taps)
        self.out_channels = tuple(taps.values())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """float[B, 3, H, W] -> four maps float[B, out_channels[i], H / 2**(i+2), W / 2**(i+2)]."""
        maps = []
        for index, layer in enumerate(self.features):
            x = self.run(layer, x)
            if index in self.taps:
                maps.append(x)
        return tuple(maps)


def mobilenet_v2(_: ModelConfig) -> MobileNet:
    """MobileNetV2 (arXiv 1801.04381; 2.2 M parameters)."""
    return MobileNet(torchvision_v2(weights=None).features, {3: 24, 6: 32, 13: 96, 18: 1280})


def mobilenet_v3_large(_: ModelConfig) -> MobileNet:
    """MobileNetV3-Large (arXiv 1905.02244; 3.0 M parameters)."""
    return MobileNet(torchvision_v3_large(weights=None).features, {3: 24, 6: 40, 12: 112, 16: 960})
