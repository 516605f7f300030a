"""Named networks: what `model.preset` stands for. Imports no config: plans use it, too."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ocdnet.tree import keys

PRESET = "model.preset"
BACKBONE = "model.backbone"
INNER_CHANNELS = "model.inner_channels"
NECK_BLOCK = "model.neck_block"

TAO_CHANNELS = 256
"""Width of the neck in TAO, whose 3x3 convolutions are plain ones."""

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {BACKBONE: "mobilenet_v3_large", INNER_CHANNELS: 64, NECK_BLOCK: "conv"},
    "small": {BACKBONE: "mobilenet_v3_large", INNER_CHANNELS: 128, NECK_BLOCK: "conv"},
    "base": {BACKBONE: "deformable_resnet18", INNER_CHANNELS: TAO_CHANNELS, NECK_BLOCK: "conv"},
}
"""Name -> the keys that it fills (docs/performance.md says how they were chosen)."""


def filled(tree: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A normalised tree with the keys of its preset in the place of the preset's name.

    Returns:
        The tree, in which written keys are as they were; and a sentence for each of them that is
        not the preset's.
    """
    name = keys.get(tree, PRESET)
    if not isinstance(name, str) or name not in PRESETS:
        return dict(tree), []  # an unknown one is refused with the other values
    result, said = copy.deepcopy(dict(tree)), []
    keys.drop(result, PRESET)
    for key, value in PRESETS[name].items():
        written = keys.get(result, key)
        if written is None:
            keys.set(result, key, value)
        elif written != value:
            said.append(f"{key!r} stays {written}, as it is written: {PRESET}={name} has {value}")
    return result, said
