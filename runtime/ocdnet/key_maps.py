"""State-dict keys of other projects -> keys of our network (`backbone.*`, `neck.*`, `head.*`)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

UNKNOWN = "a network of an unknown kind"


@dataclass(frozen=True)
class KeyMap:
    """How one kind of file names its tensors.

    Attributes:
        source: what such a file is, for people.
        mark: pattern at the start of a key that only this kind has.
        rules: (pattern at the start of a key, replacement); the first that matches is applied.
    """

    source: str
    mark: str
    rules: tuple[tuple[str, str], ...] = ()

    def to_ours(self, key: str) -> str:
        """Name of the tensor in our network; a key that no rule knows stays as it is."""
        for pattern, replacement in self.rules:
            renamed, count = re.subn(rf"^{pattern}", replacement, key, count=1)
            if count:
                return renamed
        return key


# Neck and head are one module in the original release; a classifier is a bare backbone.
KEY_MAPS = (
    KeyMap(
        "the original DB release",
        r"decoder\.(?:in5|binarize)\.",
        (
            (r"decoder\.((?:in|out)[2-5]\.)", r"neck.\1"),
            (r"decoder\.((?:binarize|thresh)\.)", r"head.\1"),
        ),
    ),
    KeyMap("TAO OCDNet", r"(?:neck|head)\..*"),
    KeyMap("a ResNet of torchvision or timm", r"layer1\.0\.", (("", "backbone."),)),
    KeyMap("a MobileNet of torchvision", r"features\.0\.0\.", (("", "backbone."),)),
    KeyMap("a FAN classifier", r"patch_embed\.", (("", "backbone."),)),
)
"""Kinds of files in the order in which they are tried."""

BACKBONE_PART = re.compile(r"backbone\.(?!(?:fc|classifier|smooth)\.)")
"""Start of a backbone's key, but not of layers that classifiers alone or the first release have."""

# Lightning, DataParallel and torch.compile each add one; the original release has two of them.
_WRAPPERS = re.compile(r"^(?:(?:model|module|_orig_mod)\.)+")
# The average that TAO keeps beside the weights; its own evaluation takes the weights.
_AVERAGE = re.compile(r"^model_ema\.")


def translate(keys: Iterable[str]) -> tuple[str, dict[str, str]]:
    """Recognise a state dict by its keys.

    Returns:
        What it seems to be, and the name in our network of every key that counts.
    """
    bare = {key: _WRAPPERS.sub("", key) for key in keys if not _AVERAGE.match(key)}
    for key_map in KEY_MAPS:
        if any(re.match(key_map.mark, key) for key in bare.values()):
            return key_map.source, {key: key_map.to_ours(name) for key, name in bare.items()}
    return UNKNOWN, bare
