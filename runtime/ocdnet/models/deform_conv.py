"""Modulated deformable convolution (DCNv2, arXiv 1811.11168) with one module for every device.

The sum is a weighted lookup of input rows followed by one matrix product: on the CPU by
`embedding_bag`, on CUDA by Triton kernels. Both beat torchvision's operator in both directions and,
unlike it, run in bfloat16. Graph capture uses torchvision's, which exports as the standard ONNX
`DeformConv`; so does CUDA where Triton does not work.
"""

from __future__ import annotations

import logging
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

LOG = logging.getLogger("ocdnet")


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
        geometry = {"stride": self.stride, "padding": self.padding}
        if x.is_cuda and triton_works():
            return deform_conv2d_columns(x, offset, mask, self.weight, self.bias, **geometry)
        if x.is_cuda or torch.compiler.is_compiling() or torch.jit.is_tracing():
            return deform_conv2d(x, offset, self.weight, self.bias, mask=mask, **geometry)
        return deform_conv2d_cpu(x, offset, mask, self.weight, self.bias, **geometry)


@torch.compiler.assume_constant_result
def triton_works() -> bool:
    """Whether Triton's kernels run on this machine's GPU; where not, a warning says why.

    Triton comes with torch for CUDA on Linux, and needs a C compiler when it first runs.
    """
    return _tried_out()  # torch.compile looks through a cache that stands above its own mark


@cache
def _tried_out() -> bool:
    try:
        from ocdnet.models import deform_columns  # noqa: PLC0415 - a GPU's alone

        deform_columns.try_out()
    except Exception as error:  # noqa: BLE001 - of Triton, its compiler, the driver: all mean no
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        LOG.warning("Deformable convolutions are torchvision's, which is slower: %s", reason)
        return False
    return True


def deform_conv2d_columns(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int,
    padding: int,
) -> Tensor:
    """Deformable convolution as `deform_columns` and a matrix product, channels last throughout.

    Shapes as in `ModulatedDeformConv2d`; equal to torchvision's operator up to rounding.
    """
    last = (0, 2, 3, 1)
    columns = torch.ops.ocdnet.deform_columns(
        x.permute(last).contiguous(),
        offset.permute(last),
        mask.permute(last),
        weight.shape[2],
        stride,
        padding,
    )
    flat = weight.permute(last).flatten(1)
    if columns.dtype == torch.float32:
        # As a convolution it is computed in TF32 where the others are.
        return F.conv2d(columns.permute(0, 3, 1, 2), flat[:, :, None, None], bias)
    return F.linear(columns, flat, bias).permute(0, 3, 1, 2)


def deform_conv2d_cpu(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int,
    padding: int,
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
            offset.float(), mask.float(), (height, width), kernel, stride=stride, padding=padding
        )
    # A frame of zeros, which every corner outside the input reads.
    rows = F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1).reshape(-1, channels)
    columns = F.embedding_bag(index, rows, per_sample_weights=share.to(rows.dtype), mode="sum")
    # The matrix product as a 1x1 convolution, which goes to oneDNN: MKL's product of fp32 reaches
    # 40 % of an AMD core's peak. Dilated, or torch would take another on one thread.
    columns = columns.view(batch, out_height, out_width, -1).permute(0, 3, 1, 2)
    flat = weight.permute(0, 2, 3, 1).reshape(out_channels, -1, 1, 1)
    return F.conv2d(columns, flat, bias, dilation=2)


def _bilinear_corners(
    offset: Tensor, mask: Tensor, size: tuple[int, int], kernel: int, *, stride: int, padding: int
) -> tuple[Tensor, Tensor]:
    """The bilinear corners of every kernel point, N = B * Ho * Wo * k * k of them.

    Returns:
        int32[N, 4], flat rows of the input in its frame of zeros, and float32[N, 4], their weights.
    """
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
    lower = below * mask
    weight_y = torch.stack([mask - lower, lower], -1)
    weight_x = torch.stack([1 - right, right], -1)
    share = weight_y[..., :, None] * weight_x[..., None, :]
    # Clamped as integers: a NaN offset then gives a NaN output, not an index error.
    row, column = _framed(top, height), _framed(left, width)
    image = torch.arange(batch, dtype=torch.int32).view(-1, 1, 1, 1, 1, 1)
    index = (image * (height + 2) + row[..., :, None]) * (width + 2) + column[..., None, :]
    return index.reshape(-1, 4), share.reshape(-1, 4)


def _framed(first: Tensor, size: int) -> Tensor:
    """A corner's position and the next one's, int32[..., 2], counted from the frame of zeros."""
    start = first.int()
    return torch.stack([start, start + 1], -1).add_(1).clamp_(0, size + 1)
