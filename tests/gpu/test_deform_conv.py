"""Deformable convolution on the GPU against our CPU form, and against torchvision's operator."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torchvision.ops import deform_conv2d

from gpu.device import DEVICE
from ocdnet.models.deform_conv import ModulatedDeformConv2d, deform_conv2d_cpu

pytestmark = pytest.mark.gpu

NAMES = ("out", "x", "offset", "mask", "weight")


def case(channels, stride, *, batch=2, size=(19, 26), out_channels=None, spread=3.0):
    """x, offsets of several pixels (many outside of the image), mask, weight."""
    draw = torch.Generator().manual_seed(0)
    out_channels = out_channels or channels
    out = [(side - 1) // stride + 1 for side in size]
    return [
        torch.randn(batch, channels, *size, generator=draw),
        torch.randn(batch, 18, *out, generator=draw) * spread,
        torch.rand(batch, 9, *out, generator=draw),
        torch.randn(out_channels, channels, 3, 3, generator=draw) / (9 * channels) ** 0.5,
    ]


def results(function, leaves):
    """Output and gradients of x, offset, mask, weight."""
    out = function(*leaves)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.device)
    out.backward(weights.to(out.dtype))
    return [out.detach(), *(leaf.grad for leaf in leaves)]


def ours(tensors, stride, layout=torch.contiguous_format, autocast=None):
    """By the module on the device."""
    leaves = [t.to(DEVICE).clone(memory_format=layout).requires_grad_() for t in tensors]
    out_channels, channels = tensors[3].shape[:2]
    module = ModulatedDeformConv2d(channels, out_channels, stride=stride).to(DEVICE)
    module.weight = torch.nn.Parameter(leaves[3].detach())
    leaves[3] = module.weight
    with torch.autocast(DEVICE, autocast) if autocast else nullcontext():
        return results(lambda x, offset, mask, _: module(x, offset, mask), leaves)


def on_the_cpu(tensors, stride):
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    return results(lambda *four: deform_conv2d_cpu(*four, stride=stride, padding=1), leaves)


def torchvisions(tensors, stride):
    leaves = [tensor.to(DEVICE).clone().requires_grad_() for tensor in tensors]

    def function(x, offset, mask, weight):
        return deform_conv2d(x, offset, weight, stride=stride, padding=1, mask=mask)

    return results(function, leaves)


def check(found, expected, share):
    """Each within a share of the largest value expected."""
    for name, one, other in zip(NAMES, found, expected, strict=True):
        assert one.shape == other.shape, name
        worst = float((one.float().cpu() - other.float().cpu()).abs().max())
        assert worst <= share * float(other.abs().max()), name


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [16, 20])
def test_output_and_gradients_are_the_cpus_and_torchvisions(channels, stride, layout):
    tensors = case(channels, stride)
    found = ours(tensors, stride, layout)
    check(found, on_the_cpu(tensors, stride), 1e-5)
    check(found, torchvisions(tensors, stride), 1e-5)


@pytest.mark.parametrize(
    "more",
    [
        {"batch": 1, "size": (40, 57), "out_channels": 48},
        {"batch": 3, "size": (1, 1)},
        {"batch": 2, "size": (7, 65), "spread": 1e6},
        {"batch": 1, "size": (9, 9), "spread": 0.0},
    ],
    ids=str,
)
def test_other_shapes_and_offsets(more):
    tensors = case(24, 1, **more)
    if more.get("spread") == 0.0:
        tensors[1] += 0.25  # on a pixel, a step could be taken either way
    check(ours(tensors, 1, torch.channels_last), on_the_cpu(tensors, 1), 1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("channels", [16, 20])
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_close_to_full(precision, channels, layout):
    if DEVICE == "cpu" and precision == torch.float16:
        pytest.skip("the CPU trains in bf16 instead")
    # As the convolutions before it hand them over.
    *rounded, weight = case(channels, 1)
    tensors = [*(tensor.to(precision) for tensor in rounded), weight]
    found = ours(tensors, 1, layout, autocast=precision)
    assert found[0].dtype == precision
    assert [gradient.dtype for gradient in found[1:]] == [*[precision] * 3, torch.float32]
    check(found, on_the_cpu([tensor.float() for tensor in tensors], 1), 0.02)


def test_a_folded_bias_is_added():
    tensors = case(16, 1)
    module = ModulatedDeformConv2d(16, 16)
    module.bias = torch.nn.Parameter(torch.arange(16.0))
    module.weight = torch.nn.Parameter(tensors[3])
    with torch.no_grad():
        expected = module(*tensors[:3])
        found = module.to(DEVICE)(*(tensor.to(DEVICE) for tensor in tensors[:3]))
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-4)


def test_a_broken_offset_spoils_its_own_point_only():
    x, offset, mask, weight = case(16, 1)
    offset[1, 4, 2, 3] = float("nan")
    found = ours([x, offset, mask, weight], 1)[0]
    assert torch.isfinite(found[0]).all()
    found[1, :, 2, 3] = 0
    assert torch.isfinite(found).all()
