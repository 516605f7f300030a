"""The lookups of a deformable convolution on a GPU, in Triton; see `deform_columns`.

torchvision's CUDA operator has no bfloat16 (autocast widens its input to float32), reads channels
first and copies what is channels last. These kernels read and write whole rows of channels, in
the type that the network computes in; the matrix product that follows is cuBLAS's.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_PIXELS = 16
"""Output pixels of one program."""
_CHANNELS = 128
"""Channels that a program holds at once, at most."""


@triton.jit
def _corners(  # type: ignore[no-untyped-def]  # noqa: ANN202
    offset, mask, pixel, real, point, height, width, out_height, out_width,  # noqa: ANN001
    kernel: tl.constexpr, stride: tl.constexpr, padding: tl.constexpr,
    offset_pixel, offset_channel, mask_pixel, mask_channel,  # noqa: ANN001
):  # fmt: skip
    """At one kernel point: the upper left corner, which corners exist, fractions, modulation."""
    column, row = pixel % out_width, (pixel // out_width) % out_height
    at = pixel * offset_pixel + 2 * point * offset_channel
    y = tl.load(offset + at, mask=real, other=0.0).to(tl.float32)
    x = tl.load(offset + at + offset_channel, mask=real, other=0.0).to(tl.float32)
    m = tl.load(mask + pixel * mask_pixel + point * mask_channel, mask=real, other=0.0)
    y += (row * stride - padding + point // kernel).to(tl.float32)
    x += (column * stride - padding + point % kernel).to(tl.float32)
    top, left = tl.floor(y), tl.floor(x)
    # Compared as numbers: NaN and what an integer cannot hold are outside.
    upper, lower = (top >= 0) & (top < height), (top >= -1) & (top < height - 1)
    west, east = (left >= 0) & (left < width), (left >= -1) & (left < width - 1)
    image = pixel // (out_width * out_height)
    first = (image * height + tl.where(upper | lower, top, 0).to(tl.int64)) * width
    first += tl.where(west | east, left, 0).to(tl.int64)
    return first, upper, lower, west, east, y - top, x - left, m.to(tl.float32)


@triton.jit
def _read(x, first, upper, lower, west, east, channel, there, width, channels):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The four corners' channels, float32[pixels, channels] each; zero outside the image."""
    at = x + first[:, None] * channels + channel[None, :]
    down = width * channels
    a = tl.load(at, mask=(upper & west)[:, None] & there, other=0.0).to(tl.float32)
    b = tl.load(at + channels, mask=(upper & east)[:, None] & there, other=0.0).to(tl.float32)
    c = tl.load(at + down, mask=(lower & west)[:, None] & there, other=0.0).to(tl.float32)
    d = tl.load(at + down + channels, mask=(lower & east)[:, None] & there, other=0.0).to(
        tl.float32
    )
    return a, b, c, d


@triton.jit
def _forward(  # type: ignore[no-untyped-def]  # noqa: ANN202
    x, offset, mask, columns, pixels, channels,  # noqa: ANN001
    height, width, out_height, out_width,  # noqa: ANN001
    kernel: tl.constexpr, stride: tl.constexpr, padding: tl.constexpr,
    offset_pixel, offset_channel, mask_pixel, mask_channel,  # noqa: ANN001
    block_pixels: tl.constexpr, block_channels: tl.constexpr,
):  # fmt: skip
    points: tl.constexpr = kernel * kernel
    point = tl.program_id(0) % points
    pixel = (tl.program_id(0) // points).to(tl.int64) * block_pixels + tl.arange(0, block_pixels)
    channel = tl.program_id(1) * block_channels + tl.arange(0, block_channels)
    real = pixel < pixels
    there = real[:, None] & (channel < channels)[None, :]
    first, upper, lower, west, east, fy, fx, m = _corners(
        offset, mask, pixel, real, point, height, width, out_height, out_width,
        kernel, stride, padding, offset_pixel, offset_channel, mask_pixel, mask_channel,
    )  # fmt: skip
    a, b, c, d = _read(x, first, upper, lower, west, east, channel, there, width, channels)
    fy, fx, m = fy[:, None], fx[:, None], m[:, None]
    value = m * ((1 - fy) * ((1 - fx) * a + fx * b) + fy * ((1 - fx) * c + fx * d))
    out = columns + (pixel * points + point)[:, None] * channels + channel[None, :]
    tl.store(out, value.to(columns.dtype.element_ty), mask=there)


@triton.jit
def _backward(  # type: ignore[no-untyped-def]  # noqa: ANN202
    x, offset, mask, grad, grad_x, grad_offset, grad_mask, pixels, channels,  # noqa: ANN001
    height, width, out_height, out_width,  # noqa: ANN001
    kernel: tl.constexpr, stride: tl.constexpr, padding: tl.constexpr,
    offset_pixel, offset_channel, mask_pixel, mask_channel,  # noqa: ANN001
    block_pixels: tl.constexpr, block_channels: tl.constexpr,
):  # fmt: skip
    points: tl.constexpr = kernel * kernel
    point = tl.program_id(0) % points
    pixel = (tl.program_id(0) // points).to(tl.int64) * block_pixels + tl.arange(0, block_pixels)
    real = pixel < pixels
    first, upper, lower, west, east, fy, fx, m = _corners(
        offset, mask, pixel, real, point, height, width, out_height, out_width,
        kernel, stride, padding, offset_pixel, offset_channel, mask_pixel, mask_channel,
    )  # fmt: skip
    by_mask = tl.zeros([block_pixels], tl.float32)
    by_y, by_x = by_mask, by_mask
    down = width * channels
    for start in range(0, channels, block_channels):
        channel = start + tl.arange(0, block_channels)
        there = real[:, None] & (channel < channels)[None, :]
        a, b, c, d = _read(x, first, upper, lower, west, east, channel, there, width, channels)
        at = grad + (pixel * points + point)[:, None] * channels + channel[None, :]
        g = tl.load(at, mask=there, other=0.0).to(tl.float32)
        v, u = fy[:, None], fx[:, None]
        by_mask += tl.sum(g * ((1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * c + u * d)), 1)
        by_y += tl.sum(g * ((1 - u) * (c - a) + u * (d - b)), 1)
        by_x += tl.sum(g * ((1 - v) * (b - a) + v * (d - c)), 1)
        g *= m[:, None]
        to = grad_x + first[:, None] * channels + channel[None, :]
        north, south = g * (1 - v), g * v
        tl.atomic_add(to, north * (1 - u), (upper & west)[:, None] & there, sem="relaxed")
        tl.atomic_add(to + channels, north * u, (upper & east)[:, None] & there, sem="relaxed")
        to += down
        tl.atomic_add(to, south * (1 - u), (lower & west)[:, None] & there, sem="relaxed")
        tl.atomic_add(to + channels, south * u, (lower & east)[:, None] & there, sem="relaxed")
    at = pixel * points + point
    tl.store(grad_mask + at, by_mask, mask=real)
    tl.store(grad_offset + 2 * at, by_y * m, mask=real)
    tl.store(grad_offset + 2 * at + 1, by_x * m, mask=real)


def try_out() -> None:
    """Run both kernels on the current GPU, on a single pixel; raises whatever is wrong there."""
    x = torch.ones(1, 1, 1, 1, device="cuda")
    offset, mask = x.expand(1, 1, 1, 2) - 1, x
    columns = deform_columns(x, offset, mask, 1, 1, 0)
    grads = deform_columns_backward(columns, x, offset, mask, 1, 1, 0)
    if float(columns) != 1 or float(grads[0]) != 1:
        raise RuntimeError(
            f"Triton's kernels compute {float(columns)} and {float(grads[0])}, not 1"
        )


@torch.library.custom_op("ocdnet::deform_columns", mutates_args=())
def deform_columns(
    x: Tensor, offset: Tensor, mask: Tensor, kernel: int, stride: int, padding: int
) -> Tensor:
    """What a deformable convolution multiplies its weight with.

    Args:
        x: float[B, H, W, C], contiguous.
        offset: float[B, Ho, Wo, 2*k*k] in input pixels, (dy, dx) for each kernel point.
        mask: float[B, Ho, Wo, k*k], the modulation.
        kernel: side of the kernel.
        stride: of the convolution.
        padding: of the convolution.

    Returns:
        [B, Ho, Wo, k*k*C] of x's type: bilinear samples times modulation, zero outside the image.
    """
    batch, out_height, out_width, points = mask.shape
    columns = x.new_empty(batch, out_height, out_width, points * x.shape[3])
    _launch(_forward, (columns,), x, offset, mask, (kernel, stride, padding), whole=False)
    return columns


@deform_columns.register_fake
def _(x: Tensor, offset: Tensor, mask: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    return x.new_empty(*mask.shape[:3], mask.shape[3] * x.shape[3])


@torch.library.custom_op("ocdnet::deform_columns_backward", mutates_args=())
def deform_columns_backward(
    grad: Tensor, x: Tensor, offset: Tensor, mask: Tensor, kernel: int, stride: int, padding: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `deform_columns` by x, offset and mask, of their types and contiguous."""
    batch, out_height, out_width, points = mask.shape
    # Many pixels add to one: float32, whatever the network computes in.
    grad_x = torch.zeros_like(x, dtype=torch.float32)
    grad_offset = offset.new_empty(batch, out_height, out_width, 2 * points)
    grad_mask = mask.new_empty(mask.shape)
    grads = (grad.contiguous(), grad_x, grad_offset, grad_mask)
    _launch(_backward, grads, x, offset, mask, (kernel, stride, padding), whole=True)
    return grad_x.to(x.dtype), grad_offset, grad_mask


@deform_columns_backward.register_fake
def _(
    grad: Tensor, x: Tensor, offset: Tensor, mask: Tensor, kernel: int, stride: int, padding: int
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(x), offset.new_empty(offset.shape), mask.new_empty(mask.shape)


def _launch(
    function: Any,
    arrays: tuple[Tensor, ...],
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    geometry: tuple[int, int, int],
    *,
    whole: bool,
) -> None:
    """Run a kernel over all pixels and points; `whole`: a program takes all channels in turn."""
    _, height, width, channels = x.shape
    batch, out_height, out_width, points = mask.shape
    pixels = batch * out_height * out_width
    offset, mask = offset.flatten(0, 2), mask.flatten(0, 2)  # copied only if it can't be a view
    block = min(_CHANNELS, triton.next_power_of_2(channels))
    programs = triton.cdiv(pixels, _PIXELS) * points, 1 if whole else triton.cdiv(channels, block)
    with torch.cuda.device_of(x):  # Triton launches on the current one
        function[programs](
            x, offset, mask, *arrays, pixels, channels, height, width, out_height, out_width,
            *geometry, *offset.stride(), *mask.stride(), _PIXELS, block,
        )  # fmt: skip


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.geometry = inputs[3:]


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    grads = deform_columns_backward(grad, *ctx.saved_tensors, *ctx.geometry)
    return (*grads, None, None, None)


deform_columns.register_autograd(_differentiate, setup_context=_save)
