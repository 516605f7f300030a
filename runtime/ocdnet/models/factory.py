"""From the spec's `model` section to a network."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from ocdnet.config.model import ModelConfig
from ocdnet.errors import EnvironmentFault
from ocdnet.models.backbones import resnet
from ocdnet.models.dbnet import DBNet
from ocdnet.models.fpn import FPN
from ocdnet.models.head import DBHead

BACKBONES: dict[str, Callable[[], nn.Module]] = {
    "deformable_resnet18": resnet.deformable_resnet18,
    "deformable_resnet50": resnet.deformable_resnet50,
}
"""Backbone name -> constructor; a backbone declares `out_channels` of its four maps."""


def build_model(config: ModelConfig) -> DBNet:
    """The untrained network that `model` describes.

    Raises:
        EnvironmentFault: the backbone is a valid TAO name that this release does not build.
    """
    constructor = BACKBONES.get(config.backbone)
    if constructor is None:
        raise EnvironmentFault(
            "backbone-not-built",
            "model.backbone is not available in this release",
            got=config.backbone,
            expected=" or ".join(sorted(BACKBONES)),
            hint="set model.backbone=deformable_resnet18",
        )
    backbone = constructor()
    neck = FPN(backbone.out_channels, config.inner_channels)
    return DBNet(backbone, neck, DBHead(neck.out_channels, config.k))
