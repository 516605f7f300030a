"""Networks with fewer channels than their backbone's name says: what pruning leaves."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ocdnet.models.backbones.convnext import ChannelNorm

_LEAST_SIDE = 64


class ChannelMismatch(ValueError):
    """The weights do not belong to this network, not even with fewer channels."""


def fit_channels(model: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """Give every layer of a network as many channels as these weights have; values are not copied.

    Args:
        model: network whose keys the weights have; its layers are replaced in place.
        weights: tensors of at most the network's own size, kernels as they are.

    Returns:
        The keys whose shape changed.

    Raises:
        ChannelMismatch: a tensor is larger, or of another kernel; or the layers do not fit each
            other.
    """
    changed = []
    for name, module in model.named_modules():
        for key, own in [*module.named_parameters("", False), *module.named_buffers("", False)]:
            full = f"{name}.{key}" if name else key
            given = weights.get(full)
            if given is None or given.shape == own.shape:
                continue
            _check(full, given, own)
            _replace(module, key, own.new_empty(given.shape))
            changed.append(full)
        sync_sizes(module)
    if changed:
        _run_once(model)
    return changed


def _check(key: str, given: Tensor, own: Tensor) -> None:
    fits = given.ndim == own.ndim and given.shape[2:] == own.shape[2:]
    if not fits or any(not 1 <= g <= o for g, o in zip(given.shape, own.shape, strict=True)):
        raise ChannelMismatch(f"{key} is {list(given.shape)}, the network's {list(own.shape)}")


def _replace(module: nn.Module, key: str, value: Tensor) -> None:
    if key in module._parameters:
        setattr(module, key, nn.Parameter(value))
    else:
        setattr(module, key, value)


def sync_sizes(module: nn.Module) -> None:
    """Take a layer's channel counts from its weight: it checks its input against them."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor):
        return
    if isinstance(module, nn.ConvTranspose2d):
        module.in_channels, module.out_channels = weight.shape[0], weight.shape[1]
    elif isinstance(module, nn.Conv2d):
        if module.groups > 1:  # depthwise: a group for each channel
            module.groups = weight.shape[0]
        module.out_channels, module.in_channels = weight.shape[0], weight.shape[1] * module.groups
    elif isinstance(module, nn.BatchNorm2d):
        module.num_features = weight.shape[0]
    elif isinstance(module, nn.LayerNorm):
        module.normalized_shape = tuple(weight.shape)
        if isinstance(module, ChannelNorm):
            module.rescale()
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape


def _run_once(model: nn.Module) -> None:
    """Put one image through the network; raises ChannelMismatch where two layers do not fit."""
    training = model.training
    try:
        with torch.no_grad():
            # Not on the meta device: deformable convolutions have a form of their own on the CPU.
            model.eval()(torch.zeros(1, 3, _LEAST_SIDE, _LEAST_SIDE))
    except RuntimeError as error:
        raise ChannelMismatch(str(error).splitlines()[0]) from error
    finally:
        model.train(training)
