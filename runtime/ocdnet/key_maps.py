"""State-dict keys of other projects -> keys of our network (`backbone.*`, `neck.*`, `head.*`)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

UNKNOWN = "a network of an unknown kind"


@dataclass(frozen=True)
class Input:
    """How a network of another trainer wants its pixels: `(x - mean) / divisor`, x in 0..255.

    Attributes:
        img_mode: RGB or BGR: the order of the channels.
        mean: of each channel, in that order.
        divisor: of each channel.
    """

    img_mode: str
    mean: tuple[float, ...]
    divisor: tuple[float, ...]


IMAGENET = Input("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""ImageNet's statistics, which torchvision and mmocr normalise by."""


@dataclass(frozen=True)
class KeyMap:
    """How one kind of file names its tensors, and what else is its own.

    Attributes:
        source: what such a file is, for people.
        mark: pattern at the start of a key that only this kind has.
        rules: (pattern at the start of a key, replacement); the first that matches is applied.
        input: of its network; None: TAO's.
        turned: our names of weights whose input channels are the four levels of the pyramid in the
            opposite order.
    """

    source: str
    mark: str
    rules: tuple[tuple[str, str], ...] = ()
    input: Input | None = None
    turned: tuple[str, ...] = ()

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
        "a DBNet of mmocr",
        r"det_head\.binarize\.",
        (
            (r"(backbone\.layer\d+\.\d+\.conv2)\.conv_offset\.", r"\1_offset."),
            *((rf"neck\.lateral_convs\.{i}\.conv\.", f"neck.in{i + 2}.") for i in range(4)),
            (r"neck\.smooth_convs\.0\.conv\.", "neck.out2."),
            *((rf"neck\.smooth_convs\.{i}\.conv\.", f"neck.out{i + 2}.0.") for i in (1, 2, 3)),
            (r"det_head\.binarize\.", "head.binarize."),
            (r"det_head\.threshold\.", "head.thresh."),
        ),
        IMAGENET,
        turned=("head.binarize.0.weight", "head.thresh.0.weight"),
    ),
    KeyMap(
        "the original DB release",
        r"decoder\.(?:in5|binarize)\.",
        (
            (r"decoder\.((?:in|out)[2-5]\.)", r"neck.\1"),
            (r"decoder\.((?:binarize|thresh)\.)", r"head.\1"),
        ),
    ),
    KeyMap("TAO OCDNet", r"(?:neck|head)\..*"),
    KeyMap("a ResNet of torchvision or timm", r"layer1\.0\.", (("", "backbone."),), IMAGENET),
    KeyMap("a MobileNet of torchvision", r"features\.0\.0\.", (("", "backbone."),), IMAGENET),
    KeyMap("a FAN classifier", r"patch_embed\.", (("", "backbone."),)),
)
"""Kinds of files in the order in which they are tried."""

COMPUTES = re.compile(r"backbone\.(?!(?:fc|classifier|smooth)\.)|neck\.asf_")
"""Start of the key of a layer without which a network computes something else: in the backbone, but
for what classifiers alone or the first release have; the attention of DBNet++."""

# Lightning, DataParallel and torch.compile each add one; the original release has two of them.
_WRAPPERS = re.compile(r"^(?:(?:model|module|_orig_mod)\.)+")
# The average that TAO keeps beside the weights; its own evaluation takes the weights.
_AVERAGE = re.compile(r"^model_ema\.")


def translate(keys: Iterable[str]) -> tuple[KeyMap, dict[str, str]]:
    """Recognise a state dict by its keys.

    Returns:
        What it seems to be, and the name in our network of every key that counts.
    """
    bare = {key: _WRAPPERS.sub("", key) for key in keys if not _AVERAGE.match(key)}
    for key_map in KEY_MAPS:
        if any(re.match(key_map.mark, key) for key in bare.values()):
            return key_map, {key: key_map.to_ours(name) for key, name in bare.items()}
    return KeyMap(UNKNOWN, ""), bare
