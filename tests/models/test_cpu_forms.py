"""What a training on a CPU computes with is the plain network: numbers, gradients, state dict."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ocdnet.config.model import ModelConfig
from ocdnet.models.cpu_forms import conv3x3, conv_of_enlarged, use_cpu_forms
from ocdnet.models.dbnet import DBNet
from ocdnet.models.factory import build_model

BACKBONES = ["mobilenet_v3_large", "deformable_resnet18", "resnet50", "fan_tiny_8_p4_hybrid"]


@pytest.fixture(params=["AVX2", "AVX512"], autouse=True)
def capability(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The forms for a CPU of either kind; their numbers are the same on any."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: request.param)


def both(backbone: str) -> tuple[DBNet, DBNet]:
    """A network of plain layers and the same in the forms of a CPU's training."""
    torch.manual_seed(0)
    plain = build_model(ModelConfig(backbone=backbone)).train()
    ours = copy.deepcopy(plain)
    use_cpu_forms(ours)
    return plain, ours


def maps_of(network: DBNet, bfloat16: bool = False) -> Tensor:
    """What it gives of two pictures 96x64, the same for each network; gradients are set."""
    images = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(2)  # of FAN's dropout
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        maps = network(images.to(memory_format=torch.channels_last))
    maps.square().mean().backward()
    return maps.detach()


def distance(ours: Tensor, plain: Tensor) -> float:
    """The difference's norm, as a share of the whole."""
    return float((ours - plain).norm() / plain.norm())


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_training_step_is_that_of_the_plain_layers(backbone: str) -> None:
    plain, ours = both(backbone)
    assert distance(maps_of(ours), maps_of(plain)) < 1e-4
    expected = {n: p for n, p in plain.named_parameters() if p.grad is not None}
    whole = float(torch.stack([one.grad.norm() for one in expected.values()]).norm())
    for name, parameter in ours.named_parameters():
        if name not in expected:  # FAN has some that nothing uses
            assert parameter.grad is None
            continue
        error = float((parameter.grad - expected[name].grad).norm())
        # Rounding turns the sign of some values before a ReLU; six pixels are few for a batch norm.
        assert error < 0.02 * float(expected[name].grad.norm()) + 1e-4 * whole, name
    buffers = dict(plain.named_buffers())
    for name, buffer in ours.named_buffers():  # running statistics
        torch.testing.assert_close(buffer, buffers[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet50"])
def test_neck_and_head_are_the_plain_ones_in_double_precision(backbone: str) -> None:
    results = []
    for network in both(backbone):
        widths = network.backbone.out_channels
        torch.manual_seed(1)
        features = [torch.randn(2, c, 16 >> i, 24 >> i).double() for i, c in enumerate(widths)]
        network.double()
        logits = network.head.binarize(network.neck(features))
        logits.square().mean().backward()
        weights = [*network.neck.parameters(), *network.head.binarize.parameters()]
        results.append([logits.detach(), *(one.grad for one in weights)])
    for plain, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("backbone", ["mobilenet_v3_large", "deformable_resnet18"])
def test_bfloat16_is_as_near_to_full_precision_as_by_the_plain_layers(backbone: str) -> None:
    exact, (plain, ours) = both(backbone)[0], both(backbone)
    maps = maps_of(exact)
    far = distance(maps_of(plain, bfloat16=True), maps)
    assert distance(maps_of(ours, bfloat16=True), maps) < 1.2 * far
    gradients = [
        torch.cat([p.grad.flatten() for p in network.parameters()])
        for network in (exact, plain, ours)
    ]
    far = distance(gradients[1], gradients[0])
    assert distance(gradients[2], gradients[0]) < 1.2 * far


@pytest.mark.parametrize("backbone", BACKBONES)
def test_weights_go_both_ways_and_validation_sees_the_plain_network(backbone: str) -> None:
    plain, ours = both(backbone)
    ours.load_state_dict(plain.state_dict())
    assert list(plain.state_dict()) == list(ours.state_dict())
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        maps = ours.eval()(image)
        assert distance(maps, plain.eval()(image)) < 1e-5


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
@pytest.mark.parametrize("channels", [5, 64])
def test_a_convolution_of_an_enlarged_map_needs_no_enlarged_map(factor: int, channels: int) -> None:
    x = torch.randn(2, channels, 3, 4, dtype=torch.double, requires_grad=True)
    weight = torch.randn(channels + 2, channels, 3, 3, dtype=torch.double, requires_grad=True)
    large = F.interpolate(x, scale_factor=float(factor), mode="nearest")
    plain = F.conv2d(large, weight, padding=1)
    ours = conv_of_enlarged(x, weight, factor)
    torch.testing.assert_close(ours, plain)
    upstream = torch.randn_like(plain)
    expected = torch.autograd.grad(plain, (x, weight), upstream)
    torch.testing.assert_close(torch.autograd.grad(ours, (x, weight), upstream), expected)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("of_x", [True, False])
def test_gradients_of_a_3x3_convolution_are_those_of_torch(stride: int, of_x: bool) -> None:
    x = torch.randn(2, 16, 7, 10, dtype=torch.double, requires_grad=of_x)
    weight = torch.randn(20, 16, 3, 3, dtype=torch.double, requires_grad=True)
    bias = torch.randn(20, dtype=torch.double, requires_grad=True)
    plain = F.conv2d(x, weight, bias, stride, padding=1)
    ours = conv3x3(x.to(memory_format=torch.channels_last), weight, bias, stride)
    torch.testing.assert_close(ours, plain)
    wanted, upstream = ((x,) if of_x else ()) + (weight, bias), torch.randn_like(plain)
    expected = torch.autograd.grad(plain, wanted, upstream)
    torch.testing.assert_close(torch.autograd.grad(ours, wanted, upstream), expected)
