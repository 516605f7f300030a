"""Pruned networks made by hand: what is cut out of a network, and the same network with it silent.

Of two networks that must compute the same, one has fewer channels, the other has zeros in them.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.mobilenetv2 import InvertedResidual

from ocdnet.checkpoint import PRUNED_KEY, SPEC_KEY
from ocdnet.models.backbones.resnet import BasicBlock


def inner_cuts(model: nn.Module) -> dict[str, tuple[list[str], list[str]]]:
    """Block name -> keys to cut at their first and at their second axis: its inner channels."""
    cuts = {}
    for name, block in model.named_modules():
        if isinstance(block, BasicBlock):
            first = ["conv1.weight", *(f"bn1.{key}" for key in _NORM)]
            second = ["conv2.weight"] + (["conv2_offset.weight"] if block.deformable else [])
        elif isinstance(block, InvertedResidual) and len(block.conv) == 4:
            first = ["conv.0.0.weight", *(f"conv.0.1.{key}" for key in _NORM)]
            first += ["conv.1.0.weight", *(f"conv.1.1.{key}" for key in _NORM)]
            second = ["conv.2.weight"]
        else:
            continue
        cuts[name] = ([f"{name}.{key}" for key in first], [f"{name}.{key}" for key in second])
    return cuts


_NORM = ("weight", "bias", "running_mean", "running_var")


def pruned(model: nn.Module, share: float = 0.5) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights without a share of each block's inner channels, and with them silent."""
    cut = {key: value.clone() for key, value in model.state_dict().items()}
    silent = {key: value.clone() for key, value in cut.items()}
    for first, second in inner_cuts(model).values():
        keep = max(1, round(len(cut[first[0]]) * (1 - share)))
        for key in first:
            if key.endswith(("weight", "bias")) and cut[key].ndim == 1:
                silent[key][keep:] = 0
            cut[key] = cut[key][:keep].clone()
        for key in second:
            cut[key] = cut[key][:, :keep].clone()
    return cut, silent


def write(path: Path, weights: dict[str, Tensor], backbone: str = "deformable_resnet18") -> Path:
    """A pruned file as prune is to write it."""
    spec = {"model": {"backbone": backbone}}
    content = {"state_dict": weights, SPEC_KEY: spec, PRUNED_KEY: {"ch_sparsity": 0.5}}
    torch.save(content, path)
    return path
