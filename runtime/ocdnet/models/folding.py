"""Batch norms folded into the convolutions before them: fewer passes over memory in inference."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ocdnet.models.deform_conv import ModulatedDeformConv2d
from ocdnet.models.quantized import channel_axis, scale_weight

_LEAST_SIDE = 64
_KINDS = (nn.Conv2d, nn.ConvTranspose2d, ModulatedDeformConv2d)


def fold_batch_norms(model: nn.Module) -> int:
    """Fold every batch norm that directly follows a convolution; returns how many.

    The network computes the same up to rounding, in evaluation only: it can no longer be trained,
    and its state-dict keys are no longer those of checkpoints.

    Args:
        model: network in evaluation mode, on the CPU; changed in place.
    """
    if model.training:
        raise ValueError("batch norms are folded in evaluation mode only")
    pairs = _pairs(model)
    for convolution, norm in pairs:
        _fold(convolution, norm)
    folded = {id(norm) for _, norm in pairs}
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if id(child) in folded:
                setattr(parent, name, nn.Identity())
    return len(pairs)


@torch.no_grad()
def _pairs(model: nn.Module) -> list[tuple[nn.Module, nn.BatchNorm2d]]:
    """Each convolution and the batch norm that takes its output, seen as one image passes through.

    The order of the modules would not do: it need not be that of the forward pass.
    """
    made_by: dict[int, nn.Module] = {}
    outputs: list[Tensor] = []  # held, so that no other tensor gets its id
    pairs: list[tuple[nn.Module, nn.BatchNorm2d]] = []

    def note_output(module: nn.Module, _: object, output: Tensor) -> None:
        outputs.append(output)
        made_by[id(output)] = module

    def note_input(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        convolution = made_by.get(id(inputs[0]))
        if convolution is not None and isinstance(module, nn.BatchNorm2d):
            pairs.append((convolution, module))

    hooks = []
    for module in model.modules():
        if isinstance(module, _KINDS):
            hooks.append(module.register_forward_hook(note_output))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(note_input))
    try:
        model(torch.zeros(1, 3, _LEAST_SIDE, _LEAST_SIDE))
    finally:
        for hook in hooks:
            hook.remove()
    return pairs


@torch.no_grad()
def _fold(convolution: nn.Module, norm: nn.BatchNorm2d) -> None:
    """Make g (Wx + b - m) / s + c one convolution: of weight W g / s and bias (b - m) g / s + c."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("a batch norm without running statistics cannot be folded")
    scale = torch.rsqrt(variance + norm.eps)
    shift = -mean * scale
    if norm.affine:
        scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
    if convolution.bias is not None:
        shift = shift + convolution.bias * scale
    shape = [1] * convolution.weight.ndim
    shape[channel_axis(convolution)] = -1
    scale_weight(convolution, scale.view(shape))
    convolution.bias = nn.Parameter(shift)
