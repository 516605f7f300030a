"""Batch norms folded into the convolutions before them: fewer passes over memory in inference.

And another trainer's normalisation of the input folded into the first convolution.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ocdnet.data.preprocess import TAO, Normalisation
from ocdnet.models.deform_conv import ModulatedDeformConv2d
from ocdnet.models.quantized import channel_axis, scale_weight

_LEAST_SIDE = 64
_FIRST = (
    ("backbone.conv1.weight", "backbone.bn1.running_mean"),
    ("backbone.features.0.0.weight", "backbone.features.0.1.running_mean"),
)
"""The first convolution of ResNets and of MobileNets, and the mean of the batch norm behind it."""
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


def fold_normalisation(
    weights: Mapping[str, Tensor], theirs: Normalisation, turned: bool
) -> dict[str, Tensor]:
    """Weights that take input by TAO's normalisation, of a network that took it by another.

    The deviations go into the first convolution, the means into the batch norm behind it. The same
    is computed but at the picture's borders: the zeros around it are no longer their mean colour.
    Networks without these layers stay as they are.

    Args:
        weights: a network's, by key.
        theirs: what it took.
        turned: whether its channels will come in the opposite order.
    """
    changed = dict(weights)
    # At place p of our input is their channel order[p], which is its own inverse.
    order = [2, 1, 0] if turned else [0, 1, 2]
    mean, divisor = (numbers[order] for numbers in _numbers(theirs))
    our_mean, our_divisor = _numbers(TAO)
    for weight, running_mean in _FIRST:
        if weight in weights and running_mean in weights:
            kernels = weights[weight].double()[:, order]
            shift = (kernels.sum((2, 3)) * (our_mean - mean) / divisor).sum(1)
            scaled = kernels * (our_divisor / divisor)[:, None, None]
            changed[weight] = scaled.to(weights[weight].dtype)
            before = weights[running_mean]
            changed[running_mean] = (before.double() - shift).to(before.dtype)
    return changed


def _numbers(how: Normalisation) -> tuple[Tensor, Tensor]:
    mean, divisor = how.mean, how.divisor
    return torch.tensor(mean, dtype=torch.double), torch.tensor(divisor, dtype=torch.double)
