"""Which network a checkpoint's weights are of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from ocdnet.checkpoint import Checkpoint
from ocdnet.config.model import ModelConfig
from ocdnet.errors import DataError
from ocdnet.findings import note
from ocdnet.weights import fitting_backbone
from ocdnet.zoo.registry import Weights

_KEYS = ("backbone", "inner_channels", "neck_block", "enlarge_feature_map_size")
"""Keys of `model` that decide which network it is: a checkpoint's go before the spec's."""
_SHAPE = (*_KEYS, "neck", "head", "fuse_qkv_proj")
"""Those that describe it completely."""
LATERAL = "neck.in5.weight"
"""A tensor that every FPN has: its first axis is the width."""
_POINTWISE = "neck.out2.3.weight"


def own_model(checkpoint: Checkpoint, known: Weights | None = None) -> ModelConfig:
    """The `model` section of a checkpoint: its spec's, a known file's, or what its shapes tell.

    Raises:
        DataError: neither tells.
    """
    section = checkpoint.spec.get("model")
    if isinstance(section, Mapping):
        given = {key: section[key] for key in _SHAPE if key in section}
    else:
        backbone = known.backbone if known else fitting_backbone(checkpoint.weights)
        given = {"backbone": backbone, **_neck(checkpoint)}
    return _read(checkpoint, given)


def network_of(checkpoint: Checkpoint, config: ModelConfig) -> ModelConfig:
    """The spec's `model` section, with the checkpoint's network where the two disagree.

    Each key that is changed is noted, for the result to warn of.

    Raises:
        DataError: what the checkpoint says makes no sense.
    """
    section, given = checkpoint.spec.get("model"), asdict(config)
    if isinstance(section, Mapping) and section.get("backbone"):
        # What it does not name is as it was before there was a choice: TAO's.
        own = {key: section.get(key, getattr(ModelConfig(), key)) for key in _KEYS}
    else:
        own = _neck(checkpoint)
    other = {key: value for key, value in own.items() if value != given[key]}
    if not other:
        return config
    for key, value in other.items():
        note(
            "checkpoints-network",
            f"model.{key} is {value}, as the checkpoint has it, not {given[key]}",
            key=f"model.{key}",
            file=checkpoint.path,
        )
    return _read(checkpoint, given | other)


def _neck(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the shapes of an FPN tell; nothing where pruning has changed them."""
    lateral = checkpoint.weights.get(LATERAL)
    if lateral is None or checkpoint.pruned:
        return {}
    separable = _POINTWISE in checkpoint.weights
    return {
        "inner_channels": len(lateral),
        "neck_block": "separable" if separable else "conv",
    }


def _read(checkpoint: Checkpoint, section: Mapping[str, Any]) -> ModelConfig:
    """A `model` section that a file tells, which may hold anything."""
    try:
        config: ModelConfig = TypeAdapter(ModelConfig).validate_json(json.dumps(dict(section)))
    except (ValueError, TypeError) as error:
        raise DataError(
            "unknown-network",
            f"{checkpoint.path} does not say which network its weights are of",
            got={key: section[key] for key in _SHAPE if key in section},
            expected="a checkpoint of this program, or weights of one of its networks",
            hint="Name the network in a spec: model.backbone, with evaluate or inference.",
        ) from error
    return config
