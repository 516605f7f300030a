"""Pruning: the weakest channels go, what is silent is not missed, what must stay stays."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ocdnet.config.model import ModelConfig
from ocdnet.models.backbones.fan import ChannelAttention, TokenAttention
from ocdnet.models.channels import fit_channels
from ocdnet.models.deform_conv import ModulatedDeformConv2d
from ocdnet.models.factory import BACKBONES as FACTORY
from ocdnet.models.factory import build_model
from ocdnet.models.pruning import CannotPrune, prune_channels
from ocdnet.policy.round_to import most

CONVOLUTIONAL = ["deformable_resnet18", "deformable_resnet50", "mobilenet_v2"]
BACKBONES = [*CONVOLUTIONAL, "mobilenet_v3_large", "fan_tiny_8_p4_hybrid"]
IMAGE = torch.linspace(-1, 1, 3 * 64 * 96).view(1, 3, 64, 96)


def network(backbone, **more):
    torch.manual_seed(0)
    return build_model(ModelConfig(backbone=backbone, **more)).eval()


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@torch.inference_mode()
def maps(model):
    return model(IMAGE)


def silence(model, share):
    """Zero the last channels wherever channels are made or read, but at the network's two ends."""
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if weight is None or name.startswith("head"):
            continue
        for value in (weight, module.bias, *(getattr(module, b, None) for b in STATISTICS)):
            made = not name.startswith("neck.out") and not name.endswith("_offset")
            if value is not None and made:
                value.data[-int(len(value) * share) :] = 0
        if weight.ndim == 4 and weight.shape[1] > 3:
            weight.data[:, -int(weight.shape[1] * share) :] = 0


STATISTICS = ("running_mean",)


@pytest.mark.parametrize("backbone", ["deformable_resnet18", "deformable_resnet50", "resnet34"])
def test_silent_channels_are_not_missed(backbone):
    model = network(backbone)
    for module in model.modules():  # offsets that move: of a new network they are all zero
        if isinstance(module, nn.Conv2d) and module.out_channels == 27:
            nn.init.normal_(module.weight, std=0.01)
    silence(model, 0.25)
    before, parameters = maps(model), count(model)
    cuts = prune_channels(model, 0.25, 1, 2)
    assert count(model) < 0.6 * parameters
    assert all(cut.after == 0.75 * cut.before for cut in cuts)
    torch.testing.assert_close(maps(model), before, atol=1e-5, rtol=0)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_shapes(backbone):
    model = network(backbone)
    head = {key: value.shape for key, value in model.head.state_dict().items()}
    parameters = count(model)
    cuts = prune_channels(model, 0.5, 8, 2)
    assert 0.2 < count(model) / parameters < 0.6
    assert {cut.after % 8 for cut in cuts} == {0}
    assert maps(model).shape == (1, 1, 64, 96)
    assert {key: value.shape for key, value in model.head.state_dict().items()} == head
    assert all(parameter.requires_grad for parameter in model.head.parameters())


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_weights_alone_tell_the_network(backbone):
    model = network(backbone)
    prune_channels(model, 0.3, 8, 2)
    again = network(backbone)
    assert fit_channels(again, model.state_dict())
    again.load_state_dict(model.state_dict())
    assert torch.equal(maps(again), maps(model))


def test_tao_default_settings_take_from_the_widest_layers_alone():
    """Rounded up to 32, only 512 channels lose any of their 10 %. TAO's pruner leaves 0.8608."""
    model = network("deformable_resnet18")
    parameters = count(model)
    cuts = prune_channels(model, 0.1, 32, 2)
    assert {(cut.before, cut.after) for cut in cuts} == {(512, 480)}
    assert count(model) / parameters == pytest.approx(0.925, abs=0.01)


def test_offsets_and_neck_outputs_stay():
    model = network("deformable_resnet18")
    prune_channels(model, 0.5, 8, 2)
    for module in model.modules():
        if isinstance(module, ModulatedDeformConv2d):
            assert module.weight.shape[0] in (64, 128, 256)
    offsets = [m for name, m in model.named_modules() if name.endswith("conv2_offset")]
    assert {offset.out_channels for offset in offsets} == {27}
    assert {len(model.neck.out5[0].weight), len(model.neck.out2.weight)} == {64}


@pytest.mark.parametrize("fused", [True, False])
def test_attention_heads_lose_alike(fused):
    model = network("fan_tiny_8_p4_hybrid", fuse_qkv_proj=fused)
    keys = model.state_dict().keys()
    prune_channels(model, 0.25, 8, 2)
    assert model.state_dict().keys() == keys
    for module in model.modules():
        if isinstance(module, TokenAttention):
            assert module.fused is fused
            assert module.heads == 8
            width = module.q.out_features
            assert width % 8 == 0 and width < 192
            assert (
                (module.kv.out_features == 2 * width) if fused else module.k.out_features == width
            )
        elif isinstance(module, ChannelAttention):
            assert module.temperature.shape == (8, 1, 1)


def test_splitting_keys_from_values_changes_nothing():
    model = network("fan_tiny_8_p4_hybrid", fuse_qkv_proj=True)
    before = maps(model)
    attentions = [m for m in model.modules() if isinstance(m, TokenAttention)]
    for attention in attentions:
        attention.split()
    torch.testing.assert_close(maps(model), before, atol=1e-6, rtol=0)
    for attention in attentions:
        attention.join()
    assert torch.equal(maps(model), before)


def test_the_weakest_go():
    model = network("resnet18")
    conv = model.backbone.layer1[0].conv1
    conv.weight.data[[3, 40]] *= 100
    kept = conv.weight[[3, 40]].detach().clone()
    prune_channels(model, 0.9, 2, 2)
    rows = model.backbone.layer1[0].conv1.weight.abs().sum(dim=(1, 2, 3))
    strongest = kept.abs().sum(dim=(1, 2, 3)).max()
    assert len(rows) == 8
    assert (rows > 0.1 * strongest).sum() == 2


@pytest.mark.parametrize(
    ("sparsity", "round_to", "key"),
    [(1.0, 8, "ch_sparsity"), (0.995, 8, "ch_sparsity"), (0.3, 65, "round_to")],
)
def test_settings_that_fit_no_layer(sparsity, round_to, key):
    model = network("resnet18")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CannotPrune) as raised:
        prune_channels(model, sparsity, round_to, 2)
    assert (raised.value.key, raised.value.channels) == (key, 64)
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("backbone", FACTORY)
def test_the_round_to_that_a_plan_chooses_is_the_largest_that_fits(backbone):
    chosen = most(backbone)
    assert prune_channels(network(backbone), 0.1, chosen or 32, 2)  # and it thins something
    if chosen:
        with pytest.raises(CannotPrune):
            prune_channels(network(backbone), 0.1, chosen + 1, 2)


def test_a_pruned_network_can_be_pruned_again():
    model = network("deformable_resnet18")
    prune_channels(model, 0.25, 8, 2)
    once = count(model)
    prune_channels(model, 0.25, 8, 2)
    assert count(model) < once
    assert maps(model).shape == (1, 1, 64, 96)
