"""Batch norms folded into convolutions: the same maps, and fewer layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ocdnet.config.model import ModelConfig
from ocdnet.models.deform_conv import ModulatedDeformConv2d
from ocdnet.models.factory import build_model
from ocdnet.models.folding import fold_batch_norms


def network(backbone):
    """With statistics and scales as of training: of a new network they are all 0 and 1."""
    torch.manual_seed(0)
    model = build_model(ModelConfig(backbone=backbone))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
    return model.eval()


@pytest.mark.parametrize(
    "backbone", ["deformable_resnet18", "mobilenet_v2", "fan_tiny_8_p4_hybrid"]
)
def test_the_maps_stay(backbone):
    model, image = network(backbone), torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        before = model(image)
        assert fold_batch_norms(model) > 0
        after = model(image)
    assert before.std() > 0.05
    torch.testing.assert_close(after, before, atol=1e-4, rtol=0)


def test_nothing_is_left_to_normalise():
    model = network("deformable_resnet18")
    fold_batch_norms(model)
    for part in (model.backbone, model.head.binarize):
        assert not any(isinstance(module, nn.BatchNorm2d) for module in part.modules())
    deformable = [m for m in model.modules() if isinstance(m, ModulatedDeformConv2d)]
    assert all(module.bias is not None for module in deformable)
    assert fold_batch_norms(model) == 0


def test_a_norm_that_takes_something_else_stays():
    class Between(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x):
            return self.norm(self.conv(x).relu())

    model = Between().eval()
    assert fold_batch_norms(model) == 0
    assert isinstance(model.norm, nn.BatchNorm2d)


def test_a_network_in_training_is_refused():
    with pytest.raises(ValueError, match="evaluation"):
        fold_batch_norms(network("deformable_resnet18").train())
