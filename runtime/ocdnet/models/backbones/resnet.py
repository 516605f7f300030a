"""ResNet backbones (arXiv 1512.03385), plain or with deformable convolutions in stages 2 to 4.

Module names are TAO's and torchvision's, so their weights load by key.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from ocdnet.config.model import ModelConfig
from ocdnet.models.backbones.base import Backbone
from ocdnet.models.deform_conv import ModulatedDeformConv2d


class SpatialConv(nn.Module):
    """Base of the blocks: their 3x3 convolution `conv2`, plain or deformable."""

    conv2: nn.Module

    def _make_conv2(self, channels: int, stride: int, deformable: bool) -> None:
        if deformable:
            self.conv2_offset = nn.Conv2d(channels, 27, 3, stride=stride, padding=1)
            self.conv2 = ModulatedDeformConv2d(channels, channels, 3, stride=stride, padding=1)
        else:
            self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.deformable = deformable

    def _apply_conv2(self, x: Tensor) -> Tensor:
        if not self.deformable:
            return self.conv2(x)
        parameters = self.conv2_offset(x)
        # 18 channels of (dy, dx) for the nine kernel points, then nine of modulation.
        return self.conv2(x, parameters[:, :18], parameters[:, 18:].sigmoid())


class BasicBlock(SpatialConv):
    """Two 3x3 convolutions and a shortcut; the second is the deformable one."""

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        deformable: bool,
        downsample: nn.Module | None,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self._make_conv2(width, 1, deformable)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """float[B, Cin, H, W] -> float[B, width, H/stride, W/stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self._apply_conv2(out))
        return self.relu(out + shortcut)


class Bottleneck(SpatialConv):
    """1x1, 3x3, 1x1 convolutions and a shortcut; the 3x3 carries stride and deformation."""

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        deformable: bool,
        downsample: nn.Module | None,
    ) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self._make_conv2(width, stride, deformable)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """float[B, Cin, H, W] -> float[B, 4 * width, H/stride, W/stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self._apply_conv2(out)))
        return self.relu(self.bn3(self.conv3(out)) + shortcut)


class ResNet(Backbone):
    """Feature pyramid source: four maps at strides 4, 8, 16 and 32.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        depths: blocks in each of the four stages.
        deformable: deformable 3x3 convolutions in every block of stages 2, 3 and 4.
    """

    def __init__(
        self, block: type[BasicBlock] | type[Bottleneck], depths: tuple[int, ...], deformable: bool
    ) -> None:
        super().__init__()
        widths = (64, 128, 256, 512)
        self.out_channels = tuple(width * block.expansion for width in widths)
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = 64
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            blocks = []
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                out = width * block.expansion
                downsample = None
                if stride != 1 or channels != out:
                    downsample = nn.Sequential(
                        nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out)
                    )
                blocks.append(block(channels, width, stride, deformable and stage > 0, downsample))
                channels = out
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.apply(_initialise)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """float[B, 3, H, W] -> four maps float[B, out_channels[i], H / 2**(i+2), W / 2**(i+2)]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        features = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in stage:
                x = self.run(block, x)
            features.append(x)
        return tuple(features)


def _initialise(module: nn.Module) -> None:
    """He initialisation by fan-out (arXiv 1502.01852); offsets start at zero, modulation at 1/2."""
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
        nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
    for name, child in module.named_children():
        if name == "conv2_offset":
            nn.init.zeros_(child.weight)
            nn.init.zeros_(child.bias)


def deformable_resnet18(_: ModelConfig) -> ResNet:
    """ResNet-18 with deformable convolutions in stages 2 to 4 (11.6 M parameters)."""
    return ResNet(BasicBlock, (2, 2, 2, 2), deformable=True)


def deformable_resnet50(_: ModelConfig) -> ResNet:
    """ResNet-50 with deformable convolutions in stages 2 to 4 (24.4 M parameters)."""
    return ResNet(Bottleneck, (3, 4, 6, 3), deformable=True)


def resnet18(_: ModelConfig) -> ResNet:
    """ResNet-18 (11.2 M parameters)."""
    return ResNet(BasicBlock, (2, 2, 2, 2), deformable=False)


def resnet34(_: ModelConfig) -> ResNet:
    """ResNet-34 (21.3 M parameters)."""
    return ResNet(BasicBlock, (3, 4, 6, 3), deformable=False)


def resnet50(_: ModelConfig) -> ResNet:
    """ResNet-50 (23.5 M parameters)."""
    return ResNet(Bottleneck, (3, 4, 6, 3), deformable=False)


def resnet101(_: ModelConfig) -> ResNet:
    """ResNet-101 (42.5 M parameters)."""
    return ResNet(Bottleneck, (3, 4, 23, 3), deformable=False)


def resnet152(_: ModelConfig) -> ResNet:
    """ResNet-152 (58.1 M parameters)."""
    return ResNet(Bottleneck, (3, 8, 36, 3), deformable=False)
