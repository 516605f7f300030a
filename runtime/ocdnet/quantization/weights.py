"""INT8 weights by torchao: its own configuration for linear layers, its primitives for others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from torchao.quantization import Int8WeightOnlyConfig, quantize_
from torchao.quantization.quant_primitives import (
    MappingType,
    choose_qparams_affine,
    quantize_affine,
)

from ocdnet.models.quantized import Int8, channel_axis, layers


@dataclass(frozen=True)
class WeightsReport:
    """Which layers with weights are in int8 now; both lists in the order of the network."""

    quantized: list[str]
    left: list[str]


def quantize_weights(
    model: nn.Module, skip: Sequence[str] = (), only: Sequence[str] | None = None
) -> tuple[Mapping[str, Int8], WeightsReport]:
    """The int8 weights of a network: symmetric, a scale for each output channel.

    Linear layers get torchao's own configuration for weights; torchao 0.18 has none for
    convolutions, so these are rounded by the primitives that it is made of.

    Args:
        model: network in float32; left as it is.
        skip: names of layers, or of their classes, that stay; with wildcards.
        only: where given, the names of the layers to quantize.
    """
    weights: dict[str, Int8] = {}
    left = []
    for name, module in layers(model):
        if not chosen(name, module, skip, only):
            left.append(name)
        elif isinstance(module, nn.Linear):
            weights[name] = _linear(module)
        else:
            weights[name] = _rounded(module.weight.detach(), channel_axis(module))
    return weights, WeightsReport(list(weights), left)


def chosen(name: str, module: nn.Module, skip: Sequence[str], only: Sequence[str] | None) -> bool:
    """Whether a layer is to be quantized; see `quantize_weights` for the names."""
    names = (name, type(module).__name__)
    return not _named(names, skip) and (only is None or _named(names, only))


def _named(names: Sequence[str], patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _linear(module: nn.Linear) -> Int8:
    alone = nn.Sequential(nn.Linear(module.in_features, module.out_features, bias=False))
    alone[0].weight = nn.Parameter(module.weight.detach().clone())
    quantize_(alone, Int8WeightOnlyConfig())
    weight = alone[0].weight
    return Int8(weight.qdata.clone(), weight.scale.float().reshape(-1, 1).clone())


def _rounded(weight: Tensor, axis: int) -> Int8:
    block = list(weight.shape)
    block[axis] = 1
    # torch.int8 with -127: symmetric to the last step, as engines want it.
    scale, zero = choose_qparams_affine(
        weight, MappingType.SYMMETRIC, tuple(block), torch.int8, -127, 127, keepdim=True
    )
    values = quantize_affine(weight, tuple(block), scale, zero, torch.int8, -127, 127)
    return Int8(values, scale.float())
