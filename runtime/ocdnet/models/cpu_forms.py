"""Layers in the forms that a CPU trains fastest: the same weights, the same numbers up to rounding.

Only a training on a CPU has them: an exported graph, a pruned or quantized network is made of the
plain layers. The state dict is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input, conv2d_weight

from ocdnet.models.fpn import FPN
from ocdnet.models.head import DBHead


def use_cpu_forms(model: nn.Module) -> None:
    """Give a detector that is trained on a CPU these forms, in place."""
    for layer in model.modules():
        if isinstance(layer, FPN):
            layer.__class__ = _FPN
        elif isinstance(layer, DBHead):
            _reform(layer.binarize)
            _reform(layer.thresh)
        elif type(layer) is nn.Conv2d:
            _choose(layer)


def _choose(layer: nn.Conv2d) -> None:
    large = layer.kernel_size[0] > 3 or layer.stride[0] > 1
    if layer.groups > 1 and large:
        layer.__class__ = _WholeConv
    elif layer.kernel_size == (1, 1):
        # A single point does not feel it, but torch then takes oneDNN's on one thread, too.
        layer.dilation = (2, 2)
    elif layer.groups == 1 and _is_3x3(layer):
        layer.__class__ = _DenseConv


def _is_3x3(layer: nn.Conv2d) -> bool:
    """Whether it is what `conv3x3` computes."""
    return (layer.kernel_size, layer.padding, layer.dilation) == ((3, 3), (1, 1), (1, 1))


def _reform(branch: nn.Sequential) -> None:
    branch[0].__class__ = _ConvOfLevels
    doubling = [layer for layer in branch if isinstance(layer, nn.ConvTranspose2d)]
    for times, layer in enumerate(doubling, start=1):
        layer.__class__ = _LastQuarters if layer is doubling[-1] else _Quarters
        layer.times = times


_FEW, _FEW_ENLARGED = 16, 64
"""Channels of a 3x3 and of a transposed convolution below which a gradient isn't worth a copy."""


class _GradientsApart(torch.autograd.Function):
    """A convolution padded by 1, or a transposed one; the weights' gradient is channels first.

    With channels last and AVX2, oneDNN takes up to five times as long for it as for the others.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, transposed: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.transposed = stride, transposed
        convolution = F.conv_transpose2d if transposed else F.conv2d
        return convolution(x, weight, stride=stride, padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x = of_weight = None
        if ctx.needs_input_grad[0] and ctx.transposed:
            of_x = F.conv2d(gradient, weight, stride=ctx.stride, padding=1)
        elif ctx.needs_input_grad[0]:
            of_x = conv2d_input(x.shape, weight, gradient, ctx.stride, padding=1)
        if ctx.needs_input_grad[1]:
            # A transposed convolution is the other one's way back: input and output change places.
            ends = (gradient, x) if ctx.transposed else (x, gradient)
            larger, smaller = (one.contiguous() for one in ends)
            of_weight = conv2d_weight(larger, weight.shape, smaller, ctx.stride, padding=1)
        return of_x, of_weight, None, None


def _apart(weight: Tensor, least: int) -> bool:
    """Whether that pays, for weights of no fewer channels than `least`."""
    avx2 = torch.backends.cpu.get_cpu_capability() == "AVX2"
    return avx2 and min(weight.shape[:2]) >= least and not torch.is_autocast_enabled("cpu")


def conv3x3(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1) -> Tensor:
    """A 3x3 convolution, padded by 1, as this CPU trains it fastest.

    Args:
        x: float[B, Cin, H, W].
        weight: float[Cout, Cin, 3, 3].
        bias: float[Cout].
        stride: of both axes.

    Returns:
        float[B, Cout, ceil(H / stride), ceil(W / stride)].
    """
    if not _apart(weight, _FEW):
        return F.conv2d(x, weight, bias, stride, padding=1)
    out = _GradientsApart.apply(x, weight, stride, False)
    return out if bias is None else out + bias[:, None, None]


def conv_of_enlarged(x: Tensor, weight: Tensor, factor: int) -> Tensor:
    """A 3x3 convolution, padded by 1, of a map that is first enlarged by repeating its pixels.

    Where nine products fell to each pixel of the large map, (factor + 2)^2 fall to each of the
    small one: a transposed convolution, whose kernel is the 3x3 one over all copies of a pixel.

    Args:
        x: float[B, Cin, H, W], the small map.
        weight: float[Cout, Cin, 3, 3].
        factor: how many times as large the map would be; 1 is a plain convolution.

    Returns:
        float[B, Cout, factor * H, factor * W].
    """
    if factor == 1:
        return conv3x3(x, weight)
    with torch.autocast(x.device.type, enabled=False):
        # Along each axis: which of the three points meets which of the copies.
        meets = weight.new_ones(3, factor + 2).triu().tril(factor - 1).flip(0)
        kernel = weight.transpose(0, 1).flatten(2) @ torch.kron(meets, meets)
    kernel = kernel.unflatten(2, (factor + 2, factor + 2))
    if _apart(weight, _FEW_ENLARGED):
        return _GradientsApart.apply(x, kernel, factor, True)
    return F.conv_transpose2d(x, kernel, stride=factor, padding=1)


class _FPN(FPN):
    """In training its levels go to the head as they are."""

    def forward(self, features: Sequence[Tensor]) -> Any:
        return self.levels(features) if self.training else super().forward(features)

    def finest(self, c2: Tensor, p3: Tensor) -> Tensor:
        """The level without its map of all channels: both convolutions of c2 are one."""
        if not isinstance(self.out2, nn.Conv2d) or c2.shape[1] > p3.shape[1]:
            return super().finest(c2, p3)
        with torch.autocast(c2.device.type, enabled=False):
            lateral = self.in2.weight.flatten(1)
            kernel = torch.einsum("omyx,mc->ocyx", self.out2.weight, lateral)
        return conv3x3(c2, kernel) + conv_of_enlarged(p3, self.out2.weight, 2)


class _DenseConv(nn.Conv2d):
    """A 3x3 one, padded by 1."""

    def forward(self, x: Tensor) -> Tensor:
        return conv3x3(x, self.weight, self.bias, self.stride[0])


class _ConvOfLevels(nn.Conv2d):
    """The head's first, of a pyramid's levels instead of what they are enlarged and joined to."""

    def forward(self, x: Tensor | Sequence[Tensor]) -> Tensor:
        if isinstance(x, Tensor):
            return super().forward(x)
        weights = self.weight.split([level.shape[1] for level in x], dim=1)
        factors = [x[-1].shape[2] // level.shape[2] for level in x]
        first, *parts = map(conv_of_enlarged, x, weights, factors)
        for part in parts:
            first = first + part
        return first


class _WholeConv(nn.Conv2d):
    """In fp32 where the rest is bf16: gradients of large depthwise kernels take a fifth as long."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float()).to(x.dtype)


class _Quarters(nn.ConvTranspose2d):
    """Puts a pixel's four outputs beside each other, float[B, C, H, 4 W], by a 1x1 convolution.

    Batch norm, ReLU and the next such layer follow; none of them looks at a pixel's neighbours.
    """

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        kernel = self.weight.permute(2, 3, 1, 0).reshape(-1, channels, 1, 1)
        out = F.conv2d(x, kernel, self.bias.repeat(4), dilation=2).permute(0, 2, 3, 1)
        return out.reshape(batch, height, 4 * width, -1).permute(0, 3, 1, 2)


class _LastQuarters(_Quarters):
    """The last of a row of such layers, of one channel: puts what all of them gave in its place."""

    times: int

    def forward(self, x: Tensor) -> Tensor:
        rows = super().forward(x)[:, 0]
        batch, height = rows.shape[:2]
        corners = rows.reshape(batch, height, -1, *(2, 2) * self.times)
        below, beside = range(3, corners.ndim, 2), range(4, corners.ndim, 2)
        places = corners.permute(0, 1, *below, 2, *beside)
        return places.reshape(batch, 1, height * 2**self.times, -1)
