"""Structured pruning: whole channels, the weakest first, through every layer that shares them.

torch-pruning finds which layers share a channel, by tracing a forward pass. The head and what the
neck hands to it keep their channels, as in TAO; so do the offsets of deformable convolutions.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType

import torch
import torch.nn.functional as F
import torch_pruning as tp
from torch import Tensor, nn

from ocdnet.models.backbones.fan import ChannelAttention, TokenAttention
from ocdnet.models.backbones.resnet import SpatialConv
from ocdnet.models.channels import sync_sizes
from ocdnet.models.dbnet import DBNet
from ocdnet.models.deform_conv import ModulatedDeformConv2d
from ocdnet.models.fan_neck import FANNeck
from ocdnet.models.fpn import FPN

_SIDE = 64
_ROOTS = (nn.Conv2d, nn.Linear, ModulatedDeformConv2d)


class CannotPrune(ValueError):
    """Settings that leave a layer without channels, or with a number that cannot be.

    Attributes:
        key: `ch_sparsity` or `round_to`.
        layer: the narrowest one that the setting does not fit.
        channels: of that layer.
    """

    def __init__(self, key: str, layer: str, channels: int) -> None:
        super().__init__(f"{key} does not fit {layer}, which has {channels} channels")
        self.key, self.layer, self.channels = key, layer, channels


@dataclass(frozen=True)
class Cut:
    """One set of channels that was thinned: the layer that makes them, and how many it has."""

    layer: str
    before: int
    after: int


def prune_channels(model: DBNet, ch_sparsity: float, round_to: int, p: int) -> list[Cut]:
    """Remove the weakest channels of every layer; changed in place.

    Args:
        model: network on the CPU.
        ch_sparsity: share of each layer's channels to remove, 0..1.
        round_to: channels left are rounded up to a multiple of this.
        p: norm of the weights that ranks channels, averaged over the layers that share one.

    Returns:
        What was thinned, in the order of the network.

    Raises:
        CannotPrune: nothing would be left of a layer, or round_to is more than it has.
    """
    fused = [m for m in model.modules() if isinstance(m, TokenAttention) and m.fused]
    for attention in fused:
        attention.split()
    try:
        cuts = _prune(model, ch_sparsity, round_to, p)
    finally:
        for attention in fused:
            attention.join()
    for module in model.modules():
        sync_sizes(module)
    return cuts


def _prune(model: DBNet, ch_sparsity: float, round_to: int, p: int) -> list[Cut]:
    names = {module: name for name, module in model.named_modules()}
    heads = _heads(model)
    cuts = []
    with _traceable(model):
        graph = _graph(model)
        groups = [group[0].dep.layer for group in graph.get_all_groups(_kept(model), _ROOTS)]
        widths = {root: len(root.weight) for root in groups}
        # The narrowest first: it is the one that an error names.
        for root, channels in sorted(widths.items(), key=lambda item: item[1]):
            _check(names[root], channels, ch_sparsity, round_to)
        for root in groups:
            whole = graph.get_pruning_group(root, _out(graph, root), list(range(len(root.weight))))
            parts = max((heads.get(item.dep.layer, 1) for item in whole), default=1)
            after = _left(widths[root], ch_sparsity, math.lcm(round_to, parts))
            if after < widths[root]:
                weakest = _weakest(graph, whole, widths[root] - after, parts, p)
                graph.get_pruning_group(root, _out(graph, root), weakest).prune()
                cuts.append(Cut(names[root], widths[root], after))
    return cuts


def _check(layer: str, channels: int, ch_sparsity: float, round_to: int) -> None:
    if channels * (1 - ch_sparsity) < 1:
        raise CannotPrune("ch_sparsity", layer, channels)
    if round_to > channels:
        raise CannotPrune("round_to", layer, channels)


def _left(channels: int, ch_sparsity: float, step: int) -> int:
    # Rounded first: 10 * (1 - 0.7) is a little more than 3.
    wanted = round(channels * (1 - ch_sparsity), 6)
    return min(channels, math.ceil(wanted / step) * step)


def _weakest(
    graph: tp.DependencyGraph, group: tp.Group, number: int, parts: int, p: int
) -> list[int]:
    """Indices of the channels to remove, the same number from each part (attention head)."""
    strength = _strength(graph, group, p).view(parts, -1)
    order = strength.argsort(dim=1)[:, : number // parts]
    start = torch.arange(parts)[:, None] * strength.shape[1]
    return sorted((order + start).flatten().tolist())


def _strength(graph: tp.DependencyGraph, group: tp.Group, p: int) -> Tensor:
    """Mean over the layers that share a channel of the p-th power of their weights' norm."""
    channels = len(group[0].idxs)
    total, layers = torch.zeros(channels), torch.zeros(channels)
    for item in group:
        weight = getattr(item.dep.layer, "weight", None)
        if not isinstance(weight, Tensor):
            continue
        kernel = weight.detach().abs().pow(p)
        if kernel.ndim > 1:
            # All but the axis of the shared channels is summed: 0 where the layer makes them, 1
            # where it reads them; the other way round in transposed convolutions.
            makes = graph.is_out_channel_pruning_fn(item.dep.pruning_fn)
            grouped = getattr(item.dep.layer, "groups", 1) > 1
            axis = 0 if grouped else int(makes == isinstance(item.dep.layer, nn.ConvTranspose2d))
            kernel = kernel.transpose(0, axis).flatten(1).sum(1)
        places = torch.tensor(item.root_idxs)
        total.index_add_(0, places, kernel[item.idxs])
        layers.index_add_(0, places, torch.ones(len(places)))
    return total / layers.clamp(min=1)


def _out(graph: tp.DependencyGraph, module: nn.Module) -> object:
    return graph.get_pruner_of_module(module).prune_out_channels


def _heads(model: nn.Module) -> dict[nn.Module, int]:
    """Layers whose output is split among attention heads: each loses as many channels."""
    heads: dict[nn.Module, int] = {}
    for module in model.modules():
        if isinstance(module, TokenAttention):
            heads |= dict.fromkeys((module.q, module.k, module.v), module.heads)
        elif isinstance(module, ChannelAttention):
            heads[module.q] = module.heads
    return heads


def _kept(model: DBNet) -> list[nn.Module]:
    """Layers whose output channels stay: those that the neck hands to the head."""
    neck = model.neck
    if isinstance(neck, FPN):
        outs = (neck.out5, neck.out4, neck.out3, neck.out2)
        return [out[-1] if isinstance(out, nn.Sequential) else out for out in outs]
    return [neck.linear_fuse["conv"]]


def _graph(model: DBNet) -> tp.DependencyGraph:
    deformable = {
        block.conv2: block.conv2_offset
        for block in model.modules()
        if isinstance(block, SpatialConv) and block.deformable
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parameters outside layers: their last axis is right
        return tp.DependencyGraph().build_dependency(
            model,
            torch.zeros(1, 3, _SIDE, _SIDE),
            forward_fn=lambda network, image: network.neck(network.backbone(image)),
            customized_pruners={ModulatedDeformConv2d: _DeformPruner(deformable)},
            verbose=False,
        )


class _DeformPruner(tp.BasePruningFunc):
    """Prunes a deformable convolution, and the inputs of the one that makes its offsets."""

    def __init__(self, offsets: dict[nn.Module, nn.Conv2d]) -> None:
        super().__init__()
        self.offsets = offsets

    def prune_out_channels(self, layer: nn.Module, idxs: Sequence[int]) -> nn.Module:
        layer.weight = _without(layer.weight, idxs, 0)
        return layer

    def prune_in_channels(self, layer: nn.Module, idxs: Sequence[int]) -> nn.Module:
        layer.weight = _without(layer.weight, idxs, 1)
        offset = self.offsets[layer]
        offset.weight = _without(offset.weight, idxs, 1)
        return layer

    def get_out_channels(self, layer: nn.Module) -> int:
        return int(layer.weight.shape[0])

    def get_in_channels(self, layer: nn.Module) -> int:
        return int(layer.weight.shape[1])


def _without(weight: Tensor, idxs: Sequence[int], axis: int) -> nn.Parameter:
    gone = set(idxs)
    rest = torch.tensor([i for i in range(weight.shape[axis]) if i not in gone])
    return nn.Parameter(weight.detach().index_select(axis, rest))


@contextmanager
def _traceable(model: DBNet) -> Iterator[None]:
    """Call every layer by itself while tracing, so that the graph shows which channels meet.

    A deformable convolution is traced as a plain one: its offsets carry no channel of its input.
    """
    training, frozen, replaced = model.training, [], []
    for module in model.modules():
        forward = _TRACED.get(type(module))
        if forward is not None:
            module.forward = MethodType(forward, module)
            replaced.append(module)
        for name, parameter in module.named_parameters(recurse=False):
            # A temperature belongs to a head: it has no channels.
            wanted = not (isinstance(module, ChannelAttention) and name == "temperature")
            frozen.append((parameter, parameter.requires_grad))
            parameter.requires_grad_(wanted)
    model.eval()
    try:
        yield
    finally:
        for module in replaced:
            del module.forward
        model.train(training)
        for parameter, required in frozen:
            parameter.requires_grad_(required)


def _as_plain(self: ModulatedDeformConv2d, x: Tensor, _: Tensor, __: Tensor) -> Tensor:
    return F.conv2d(x, self.weight, None, self.stride, self.padding)


def _layer_by_layer(self: FANNeck, features: Sequence[Tensor]) -> Tensor:
    """What FANNeck computes, by calling its layers."""
    levels = (self.linear_c1, self.linear_c2, self.linear_c3, self.linear_c4)
    size, maps = features[0].shape[2:], []
    for x, level in zip(features, levels, strict=True):
        tokens = level["proj"](x.flatten(2).transpose(1, 2))
        projected = tokens.transpose(1, 2).unflatten(-1, x.shape[2:])
        maps.append(F.interpolate(projected, size, mode="bilinear"))
    fused = self.linear_fuse["conv"](torch.cat(maps[::-1], 1))
    return F.relu(self.linear_fuse["norm"](fused))


_TRACED: dict[type, Callable[..., Tensor]] = {
    ModulatedDeformConv2d: _as_plain,
    FANNeck: _layer_by_layer,
}
