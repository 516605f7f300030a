"""Modulated deformable convolution (DCNv2, arXiv 1811.11168) with one module for every device.

CUDA and graph capture use torchvision's operator (it exports as the standard ONNX `DeformConv`).
On the CPU the same sum is written as a weighted row lookup followed by one matrix product, which
beats torchvision's CPU kernel in both directions and, unlike it, runs in bfloat16.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import deform_conv2d


class ModulatedDeformConv2d(nn.Module):
    """Square-kernel deformable convolution; one deformable group.

    `forward(x, offset, mask)` takes float[B, Cin, H, W], float[B, 2*k*k, Ho, Wo] offsets in input
    pixels ordered (dy, dx) per kernel point, and float[B, k*k, Ho, Wo] modulation in 0..1; it
    returns float[B, Cout, Ho, Wo]. Points outside the input read zero. It has a bias, float[Cout],
    only where a batch norm was folded into it.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int = 1,
    ) -> None:
        super().__init__()
        self.stride, self.padding = stride, padding
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size, kernel_size))
        self.register_parameter("bias", None)
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """Convolve; see the class for shapes."""
        if x.is_cuda or torch.compiler.is_compiling() or torch.jit.is_tracing():
            return deform_conv2d(
                x, offset, self.weight, self.bias, self.stride, self.padding, mask=mask
            )
        return deform_conv2d_cpu(
            x, offset, mask, self.weight, self.stride, self.padding, bias=self.bias
        )


def deform_conv2d_cpu(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    bias: Tensor | None = None,
) -> Tensor:
    """Deformable convolution as an `embedding_bag` lookup and a matrix product.

    Every output pixel and kernel point is a bag of four input pixels (the bilinear corners) whose
    weights are the bilinear coefficients times the modulation. Shapes as in
    `ModulatedDeformConv2d`; equal to torchvision's operator up to rounding.
    """
    batch, channels, height, width = x.shape
    out_channels, _, kernel, _ = weight.shape
    out_height, out_width = offset.shape[2:]
    with torch.autocast("cpu", enabled=False):
        index, share = _bilinear_corners(
            offset.float(), mask.float(), (height, width), kernel, stride, padding
        )
    rows = x.permute(0, 2, 3, 1).reshape(batch * height * width, channels)
    columns = F.embedding_bag(index, rows, per_sample_weights=share.to(rows.dtype), mode="sum")
    columns = columns.view(batch * out_height * out_width, kernel * kernel * channels)
    matrix = weight.permute(0, 2, 3, 1).reshape(out_channels, -1)
    out = F.linear(columns, matrix, bias)
    return out.view(batch, out_height, out_width, out_channels).permute(0, 3, 1, 2)


def _bilinear_corners(
    offset: Tensor, mask: Tensor, size: tuple[int, int], kernel: int, stride: int, padding: int
) -> tuple[Tensor, Tensor]:
    """Flat input rows int32[N, 4] and their weights float32[N, 4], N = B * Ho * Wo * k * k."""
    height, width = size
    batch, _, out_height, out_width = offset.shape
    # [B, Ho, Wo, k*k] with the kernel point last: the columns then need no transposition.
    offset = offset.permute(0, 2, 3, 1).reshape(batch, out_height, out_width, kernel * kernel, 2)
    mask = mask.permute(0, 2, 3, 1)
    point = torch.arange(kernel, device=offset.device)
    tap_y = point.repeat_interleave(kernel) - padding
    tap_x = point.repeat(kernel) - padding
    y = offset[..., 0] + (torch.arange(out_height)[:, None, None] * stride + tap_y)
    x = offset[..., 1] + (torch.arange(out_width)[:, None] * stride + tap_x)
    top, left = y.detach().floor(), x.detach().floor()
    below, right = y - top, x - left
    # A weight of zero stands for a corner outside the input; its index is clamped into range.
    weight_y = torch.stack(
        [(1 - below) * _inside(top, height), below * _inside(top + 1, height)], -1
    )
    weight_x = torch.stack(
        [(1 - right) * _inside(left, width), right * _inside(left + 1, width)], -1
    )
    share = (weight_y * mask[..., None])[..., :, None] * weight_x[..., None, :]
    # Clamped as integers: a NaN offset then gives a NaN output, not an index error.
    row = torch.stack([top, top + 1], -1).int().clamp_(0, height - 1)
    column = torch.stack([left, left + 1], -1).int().clamp_(0, width - 1)
    image = torch.arange(batch, dtype=torch.int32).view(-1, 1, 1, 1, 1, 1) * (height * width)
    index = image + row[..., :, None] * width + column[..., None, :]
    return index.reshape(-1, 4), share.reshape(-1, 4)


def _inside(position: Tensor, size: int) -> Tensor:
    return ((position >= 0) & (position < size)).to(position.dtype)
