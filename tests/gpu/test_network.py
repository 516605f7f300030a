"""Every network computes on the GPU what it computes on the CPU."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import support
from golden.fill import seeded_image, seeded_state
from gpu.device import DEVICE, SGD, distance, flat, train
from ocdnet.config.model import ModelConfig
from ocdnet.models.factory import BACKBONES, build_model
from ocdnet.training.module import DetectionModule

pytestmark = pytest.mark.gpu


def twins(backbone):
    """A network whose offsets are a pixel or so, and its copy on the device as it trains there."""
    network = build_model(ModelConfig(backbone=backbone))
    network.load_state_dict(seeded_state(network.state_dict()))
    for layer in network.modules():
        if isinstance(layer, nn.Dropout2d):
            layer.p = 0.0  # the devices draw other numbers
    other = copy.deepcopy(network).to(DEVICE).to(memory_format=torch.channels_last)
    return network, other


@torch.no_grad()
@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_maps_are_the_cpus(backbone):
    network, other = (model.eval() for model in twins(backbone))
    image = seeded_image(1, (1, 3, 64, 96))
    found = other(image.to(DEVICE))
    assert found.device.type == DEVICE
    assert found.dtype == torch.float32
    assert distance(found, network(image)) < 1e-4


def gradients(network, *, normed_by_batch):
    """Of every parameter, from a batch of two; finite."""
    network.train()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.train(normed_by_batch)
    image = seeded_image(1, (2, 3, 64, 96))
    maps = network(image.to(next(network.parameters()).device))
    maps.square().mean().backward()
    found = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    assert all(torch.isfinite(gradient).all() for gradient in found.values())
    return found


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_gradients_are_the_cpus(backbone):
    expected, found = (gradients(n, normed_by_batch=False) for n in twins(backbone))
    assert found.keys() == expected.keys()
    assert distance(flat(found), flat(expected)) < 1e-3


# Of a deeper one the batch norms, some 12 pixels each, turn rounding into per cents.
@pytest.mark.parametrize("backbone", ["deformable_resnet18", "resnet18", "fan_tiny_8_p4_hybrid"])
def test_so_they_are_where_batches_norm_themselves(backbone):
    expected, found = (flat(gradients(n, normed_by_batch=True)) for n in twins(backbone))
    assert torch.cosine_similarity(found, expected, dim=0) > 0.999
    assert distance(found, expected) < 0.03


@pytest.mark.parametrize("backbone", ["deformable_resnet18", "fan_tiny_8_p4_hybrid"])
def test_recomputed_activations_give_the_same_gradients(backbone):
    plain = twins(backbone)[1]
    again = copy.deepcopy(plain)
    again.backbone.activation_checkpoint = True
    expected, found = (flat(gradients(n, normed_by_batch=True)) for n in (plain, again))
    assert distance(found, expected) < 0.03


@torch.no_grad()
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_is_close(precision):
    if DEVICE == "cpu" and precision == torch.float16:
        pytest.skip("the CPU trains in bf16 instead")
    network, other = (model.eval() for model in twins("deformable_resnet18"))
    image = seeded_image(1, (1, 3, 64, 96))
    with torch.autocast(DEVICE, precision):
        found = other(image.to(DEVICE))
    assert found.dtype == torch.float32
    assert (found.cpu() - network(image)).abs().max() < 0.1


@pytest.mark.usefixtures("small_network")
def test_a_training_is_channels_last_and_its_maps_are_the_contiguous_ones(
    scenes, tmp_path, monkeypatch
):
    seen, whole = set(), DetectionModule.forward

    def forward(self, images):
        kernels = [p for p in self.model.parameters() if p.dim() == 4]
        layout = torch.channels_last
        seen.update((p.device.type, p.is_contiguous(memory_format=layout)) for p in kernels)
        return whole(self, images)

    monkeypatch.setattr(DetectionModule, "forward", forward)
    module = train(scenes, tmp_path, *SGD, "train.num_epochs=1").module
    assert seen == {(DEVICE, True)}
    module.to(DEVICE).eval()  # Lightning has brought it back to the CPU
    shape = (1, support.CROP, support.CROP, 3)
    image = torch.randint(0, 256, shape, dtype=torch.uint8, device=DEVICE)
    with torch.no_grad():
        maps = module(image)
        module.model = copy.deepcopy(module.model).to(memory_format=torch.contiguous_format)
        torch.testing.assert_close(maps, module(image), rtol=0, atol=1e-4)
