"""How large a picture becomes for the network: stretched as in TAO, fitted, or cut into tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, get_args

from ocdnet.config.base import Resize
from ocdnet.findings import note

Mode: TypeAlias = Resize
"""stretch: to the network's size, whatever the aspect (TAO). fit: as large as fits into it, aspect
kept. auto: the same with width and height the way round that the picture has them; of longer
pictures the short side decides. tile: pictures larger than the network's size in overlapping parts
of it, smaller ones fitted."""
MODES: tuple[Mode, ...] = get_args(Mode)
STRIDE = 32
"""The network halves its input five times: sides must be multiples of this."""

_LONGEST = 4.0
"""Pixels that `auto` spends on a long picture, in network's sizes."""
_SPREAD = 1.5
"""Change of the aspect above which `stretch` is worth a warning."""

Pair = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True, slots=True)
class Room:
    """Least and largest width and height that a network takes; most networks take any."""

    least: Pair
    most: Pair


def up(side: int) -> int:
    """The next multiple of STRIDE."""
    return -(-side // STRIDE) * STRIDE


def fitted(picture: Pair, size: Pair, mode: Mode, room: Room | None) -> Pair:
    """The size to which a picture is resized with its aspect kept, in modes other than stretch.

    Args:
        picture: its own size.
        size: the network's.
        mode: fit or auto; tile is as fit, for what needs no tiles.
        room: what the network takes; None: anything.

    Returns:
        Sides of 1 pixel or more; with black added up to multiples of 32 the network takes them.
    """
    turned = mode == "auto" and (picture[0] < picture[1]) != (size[0] < size[1])
    scale = _into(picture, size[::-1] if turned else size)
    if mode == "auto":
        # A long page would be shrunk to illegible text: its short side decides, within limits.
        legible = min(1.0, min(size) / min(picture))
        affordable = math.sqrt(_LONGEST * math.prod(size) / math.prod(picture))
        scale = max(scale, min(legible, affordable))
    if room is not None:
        scale = min(scale, _into(picture, room.most))
    return max(1, round(picture[0] * scale)), max(1, round(picture[1] * scale))


def padded(size: Pair, room: Room | None) -> Pair:
    """What a picture of that size is padded to: multiples of 32, and what the network takes."""
    width, height = (up(side) for side in size)
    return (max(width, room.least[0]), max(height, room.least[1])) if room else (width, height)


def note_stretch(scale: tuple[float, float], image: Path | str | None, key: str) -> None:
    """Note an image whose aspect TAO's resizing has changed by more than 1.5.

    Args:
        scale: factors of its width and height.
        image: its name.
        key: of the spec, that decides.
    """
    if max(scale) > _SPREAD * min(scale):
        note(
            "aspect-changed",
            f"The network's size changes the aspect of images by more than {_SPREAD}, which costs "
            f"accuracy ({key}; references/resizing.md)",
            key=key,
            file=image,
        )


def _into(picture: Pair, size: Pair) -> float:
    return min(size[0] / picture[0], size[1] / picture[1])
