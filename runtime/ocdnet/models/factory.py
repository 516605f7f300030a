"""From the spec's `model` section to a network."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import pairwise

from ocdnet.config.model import ModelConfig
from ocdnet.models.backbones import fan, mobilenet, resnet
from ocdnet.models.backbones.base import Backbone
from ocdnet.models.dbnet import DBNet
from ocdnet.models.fan_neck import FANNeck
from ocdnet.models.fpn import FPN
from ocdnet.models.head import DBHead
from ocdnet.ranks import is_rank_zero

LOG = logging.getLogger("ocdnet")

BACKBONES: dict[str, Callable[[ModelConfig], Backbone]] = {
    "deformable_resnet18": resnet.deformable_resnet18,
    "deformable_resnet50": resnet.deformable_resnet50,
    "fan_tiny_8_p4_hybrid": fan.fan_tiny_8_p4_hybrid,
    "resnet18": resnet.resnet18,
    "resnet34": resnet.resnet34,
    "resnet50": resnet.resnet50,
    "resnet101": resnet.resnet101,
    "resnet152": resnet.resnet152,
    "mobilenet_v2": mobilenet.mobilenet_v2,
    "mobilenet_v3_large": mobilenet.mobilenet_v3_large,
}
"""Backbone name -> constructor from the `model` section."""


def build_model(config: ModelConfig) -> DBNet:
    """The untrained network that `model` describes.

    As in TAO, the backbone's strides decide which neck it gets, whatever `model.neck` says.
    """
    backbone = BACKBONES[config.backbone](config)
    backbone.activation_checkpoint = config.activation_checkpoint
    pyramid = all(coarse == 2 * fine for fine, coarse in pairwise(backbone.strides))
    neck = (
        FPN(backbone.out_channels, config.inner_channels, config.neck_block == "separable")
        if pyramid
        else FANNeck(backbone.out_channels)
    )
    name = "FPN" if pyramid else "FANNeck"
    if config.neck != name and is_rank_zero():
        LOG.info("The backbone %s takes the neck %s, not %s.", config.backbone, name, config.neck)
    head = DBHead(neck.out_channels, config.k, backbone.strides[0])
    return DBNet(backbone, neck, head)
