"""Layers whose weights are int8 and are dequantized each time the layer computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ocdnet.models.deform_conv import ModulatedDeformConv2d

KINDS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, ModulatedDeformConv2d)
"""Layers whose weights can be int8."""


class Int8(NamedTuple):
    """A weight in int8: `values * scale`, rounded.

    Attributes:
        values: int8, of the weight's shape.
        scale: float32, one for each channel, of a shape that multiplies with the values.
        input_scale: float32 of one element, where the layer's input is to be rounded to int8, too.
    """

    values: Tensor
    scale: Tensor
    input_scale: Tensor | None = None

    def dequantized(self) -> Tensor:
        """The weight as float32."""
        return self.values.float() * self.scale


class _Dequantize(nn.Module):
    """The parametrization: int8 in, float32 out."""

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale.clone())

    def forward(self, values: Tensor) -> Tensor:
        return values.float() * self.scale


def channel_axis(module: nn.Module) -> int:
    """The axis of a layer's weight that counts its output channels."""
    return 1 if isinstance(module, nn.ConvTranspose2d) else 0


def layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name and layer of every weight that can be int8."""
    for name, module in model.named_modules():
        if isinstance(module, KINDS):
            yield name, module


def install(model: nn.Module, weights: Mapping[str, Int8]) -> None:
    """Let layers keep int8 weights, and dequantize them each time they compute.

    Inputs are rounded to int8 where the weight says so, as an integer kernel would get them. The
    network can be evaluated, not trained.

    Args:
        model: network whose shapes the weights have; changed in place.
        weights: by the name of the layer.
    """
    modules = dict(model.named_modules())
    for name, weight in weights.items():
        module = modules[name]
        module.weight = nn.Parameter(weight.values, requires_grad=False)
        # unsafe: the weight that comes out has another type than the one that is kept.
        dequantize = _Dequantize(weight.scale)
        parametrize.register_parametrization(module, "weight", dequantize, unsafe=True)
        if weight.input_scale is not None:
            module.register_buffer("input_scale", weight.input_scale.clone(), persistent=False)
            module.register_forward_pre_hook(_round_input)


def _round_input(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    scale = module.input_scale
    if scale is None:
        return inputs
    first, *rest = inputs
    return ((first / scale).round().clamp(-127, 127) * scale, *rest)


def is_int8(module: nn.Module) -> bool:
    """Whether a layer's weight is kept in int8."""
    return parametrize.is_parametrized(module, "weight")


@torch.no_grad()
def scale_weight(module: nn.Module, factor: Tensor) -> None:
    """Multiply a layer's weight; of an int8 one, its scale."""
    if is_int8(module):
        parametrization = module.parametrizations.weight[0]
        parametrization.scale = parametrization.scale * factor
    else:
        module.weight.mul_(factor)


def to_float(model: nn.Module) -> int:
    """Give every layer the float32 weight that its int8 one stands for; returns how many.

    Inputs are no longer rounded.
    """
    changed = [module for module in model.modules() if is_int8(module)]
    for module in changed:
        weight = module.weight.detach()
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
        module.weight = nn.Parameter(weight)
        if hasattr(module, "input_scale"):
            module.input_scale = None
    return len(changed)
