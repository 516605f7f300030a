"""Deformable convolution: our CPU form against torchvision's operator."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import deform_conv2d

from ocdnet.models.deform_conv import ModulatedDeformConv2d, deform_conv2d_cpu

# batch, channels in and out, height, width, kernel, stride, padding
SHAPES = [
    (2, 4, 5, 9, 7, 3, 1, 1),
    (1, 3, 2, 8, 13, 3, 2, 1),
    (2, 8, 8, 4, 4, 3, 1, 0),
    (1, 2, 3, 5, 6, 1, 1, 0),
    (1, 2, 2, 1, 1, 3, 1, 1),
]
# 0: every point on a pixel, some exactly at -1, where a step could be taken either way;
# 30 and 1e6: most or all points outside the image.
SPREADS = [0.0, 0.4, 3.0, 30.0, 1e6]


def case(shape, spread):
    batch, channels, out_channels, height, width, kernel, stride, padding = shape
    draw = torch.Generator().manual_seed(0)
    out = [(side + 2 * padding - kernel) // stride + 1 for side in (height, width)]
    tensors = (
        torch.randn(batch, channels, height, width, generator=draw),
        torch.randn(batch, 2 * kernel * kernel, *out, generator=draw) * spread,
        torch.rand(batch, kernel * kernel, *out, generator=draw),
        torch.randn(out_channels, channels, kernel, kernel, generator=draw),
    )
    return tensors, stride, padding


def torchvision_form(x, offset, mask, weight, stride, padding):
    return deform_conv2d(x, offset, weight, stride=stride, padding=padding, mask=mask)


def output_and_gradients(function, tensors, stride, padding):
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    out = function(*leaves, stride=stride, padding=padding)
    out.backward(torch.randn(out.shape, generator=torch.Generator().manual_seed(1)))
    return [out.detach(), *(leaf.grad for leaf in leaves)]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_output_and_all_gradients_equal_torchvision(shape, spread, layout):
    tensors, stride, padding = case(shape, spread)
    expected = output_and_gradients(torchvision_form, tensors, stride, padding)
    tensors = [tensor.to(memory_format=layout) for tensor in tensors]
    found = output_and_gradients(deform_conv2d_cpu, tensors, stride, padding)
    names = ("out", "x", "offset", "mask", "weight")
    for name, ours, theirs in zip(names, found, expected, strict=True):
        # float32 sums in another order: 4e-7 of the largest value was measured
        atol = 1e-5 * float(theirs.abs().max())
        torch.testing.assert_close(
            ours, theirs, rtol=0, atol=atol, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_without_offsets_it_is_a_convolution(shape):
    (x, offset, mask, weight), stride, padding = case(shape, 0.0)
    out = deform_conv2d_cpu(
        x, offset, torch.ones_like(mask), weight, stride=stride, padding=padding
    )
    expected = F.conv2d(x, weight, stride=stride, padding=padding)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


def test_bfloat16_autocast_stays_close_to_float32():
    tensors, stride, padding = case((2, 16, 8, 12, 10, 3, 1, 1), 2.0)
    exact = output_and_gradients(deform_conv2d_cpu, tensors, stride, padding)
    with torch.autocast("cpu", torch.bfloat16):
        x = tensors[0].bfloat16()  # as the convolution before it hands it over
        rough = output_and_gradients(deform_conv2d_cpu, (x, *tensors[1:]), stride, padding)
    assert rough[0].dtype == torch.bfloat16
    for ours, reference in zip(rough, exact, strict=True):
        # bfloat16 keeps 8 bits: 0.4 % a factor
        assert (ours.float() - reference).abs().max() < 0.02 * reference.abs().max()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_broken_offset_spoils_its_own_point_only(value):
    """The loss turns NaN and training says so; an index error would say nothing."""
    (x, offset, mask, weight), stride, padding = case(SHAPES[0], 1.0)
    offset[1, 4, 2, 3] = value
    spoiled = deform_conv2d_cpu(x, offset, mask, weight, stride=stride, padding=padding).isnan()
    assert spoiled[1, :, 2, 3].all()
    assert spoiled.sum() == weight.shape[0]


@pytest.mark.filterwarnings("ignore")
def test_graph_capture_uses_the_operator_that_becomes_onnx_deformconv():
    (x, offset, mask, weight), _, _ = case((1, 2, 3, 6, 5, 3, 1, 1), 1.0)
    module = ModulatedDeformConv2d(2, 3)
    module.load_state_dict({"weight": weight})
    program = torch.export.export(module, (x, offset, mask))
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert "torchvision.deform_conv2d.default" in called
    assert not any("embedding_bag" in name for name in called)
    torch.testing.assert_close(program.module()(x, offset, mask), module(x, offset, mask))
