"""A network takes the channels of pruned weights, and computes what they mean."""

from __future__ import annotations

import pytest
import torch

from models import pruning
from ocdnet.config.model import ModelConfig
from ocdnet.errors import DataError
from ocdnet.models.channels import fit_channels
from ocdnet.models.factory import build_model
from ocdnet.weights import load_exactly, load_pruned, read_checkpoint

BACKBONES = ["deformable_resnet18", "resnet18", "mobilenet_v2"]


def network(backbone, seed=0):
    """A network whose normalisations are no identities."""
    torch.manual_seed(seed)
    model = build_model(ModelConfig(backbone=backbone))
    for key, value in model.state_dict().items():
        if key.endswith(("running_mean", "running_var", "bias")) and value.is_floating_point():
            value.uniform_(0.1, 1)
    return model.eval()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_it_computes_what_the_whole_one_does_with_those_channels_silent(tmp_path, backbone):
    model = network(backbone)
    cut, silent = pruning.pruned(model)
    path = pruning.write(tmp_path / "pruned_0.5.pth", cut, backbone)
    small = build_model(ModelConfig(backbone=backbone))
    load_pruned(small, read_checkpoint(path), backbone)
    model.load_state_dict(silent)
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        difference = (small.eval()(images) - model(images)).abs().max()
    assert difference < 1e-3  # of a probability; sums in another order
    sizes = [sum(p.numel() for p in net.parameters()) for net in (small, model)]
    assert sizes[0] < 0.8 * sizes[1]
    for name, layer in small.named_modules():
        if isinstance(layer, torch.nn.Conv2d):
            assert layer.weight.shape[:2] == (layer.out_channels, layer.in_channels // layer.groups)
            assert name


def test_every_parameter_learns(tmp_path):
    model = network("deformable_resnet18")
    path = pruning.write(tmp_path / "p.pth", pruning.pruned(model)[0])
    small = build_model(ModelConfig(backbone="deformable_resnet18"))
    load_pruned(small, read_checkpoint(path), "deformable_resnet18")
    small.train()(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(parameter.grad is not None for parameter in small.parameters())


def test_weights_of_the_same_channels_change_nothing():
    model = network("resnet18")
    assert fit_channels(model, model.state_dict()) == []


def refused(path, backbone="deformable_resnet18"):
    with pytest.raises(DataError) as raised:
        load_pruned(build_model(ModelConfig(backbone=backbone)), read_checkpoint(path), backbone)
    return raised.value


def test_a_whole_network_is_no_pruned_one(tmp_path):
    torch.save({"state_dict": network("resnet18").state_dict()}, tmp_path / "model.pth")
    error = refused(tmp_path / "model.pth", "resnet18")
    assert error.code == "not-pruned"
    assert "model.pretrained_model_path=" in error.hint


def test_a_pruned_network_of_another_backbone(tmp_path):
    cut, _ = pruning.pruned(network("resnet18"))
    error = refused(pruning.write(tmp_path / "p.pth", cut, "resnet18"))
    assert (error.code, error.hint) == ("checkpoint-mismatch", "Set model.backbone=resnet18.")


@pytest.mark.parametrize("key", ["backbone.layer2.0.bn1.weight", "backbone.layer2.0.conv1.weight"])
def test_layers_that_do_not_fit_each_other(tmp_path, key):
    cut, _ = pruning.pruned(network("deformable_resnet18"))
    cut[key] = cut[key][:-3].clone()
    error = refused(pruning.write(tmp_path / "p.pth", cut))
    assert error.code == "checkpoint-mismatch"
    assert "fewer channels" in error.message


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("backbone.layer1.0.conv1.weight", lambda w: torch.cat([w, w, w])),
        ("backbone.layer1.0.conv1.weight", lambda w: w[..., :1]),
        ("backbone.layer1.0.bn1.weight", lambda w: w[None]),
        ("backbone.layer1.0.conv1.weight", lambda w: w[:0]),
    ],
)
def test_shapes_that_no_pruning_makes(tmp_path, key, change):
    cut, _ = pruning.pruned(network("deformable_resnet18"))
    cut[key] = change(cut[key]).clone()
    error = refused(pruning.write(tmp_path / "p.pth", cut))
    assert error.code == "checkpoint-mismatch"
    assert key in error.got


def test_a_checkpoint_that_says_pruned_of_a_whole_network_is_whole(tmp_path):
    model = network("deformable_resnet18")
    path = pruning.write(tmp_path / "p.pth", model.state_dict())
    other = build_model(ModelConfig(backbone="deformable_resnet18"))
    load_exactly(other, read_checkpoint(path), "deformable_resnet18")
    assert all(
        torch.equal(a, b) for a, b in zip(other.parameters(), model.parameters(), strict=True)
    )
