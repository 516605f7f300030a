"""Large pictures as overlapping tiles, whose maps are joined to one without seams."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ocdnet.data.preprocess import Preprocess, pad_to, resized
from ocdnet.data.reading import Image
from ocdnet.data.resizing import fitted, up
from ocdnet.geometry import Frame
from ocdnet.spec_keys import STRIDE

_OVERLAP = 192
"""Pixels that neighbours share, at least: a word is whole in one of two tiles up to this length,
and of a longer one both see enough to agree."""
_MOST_PIXELS = 40e6
"""Of a picture: a larger one is shrunk first, as its map lies in memory as a whole."""

_Map = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Axis:
    """Where the tiles of one direction begin, and how much of each pixel is theirs.

    Attributes:
        length: of the padded picture.
        side: of a tile.
        starts: first pixels of the tiles.
        shares: float32[tiles, side]; over all tiles those of a pixel add up to 1.
    """

    length: int
    side: int
    starts: list[int]
    shares: _Map

    @classmethod
    def of(cls, length: int, side: int) -> Axis:
        """Cover a picture's length, a multiple of 32, with tiles of a side, not longer than it."""
        step = max(STRIDE, side - _OVERLAP)
        tiles = 1 + max(0, math.ceil((length - side) / step))
        slots, last = max(1, tiles - 1), (length - side) // STRIDE
        starts = [STRIDE * (last * tile // slots) for tile in range(tiles)]
        # The nearer to a tile's border, the less has it seen around a pixel, and the less it says.
        ramp = np.minimum(np.arange(1, side + 1), np.arange(side, 0, -1)).astype(np.float32)
        total = np.zeros(length, np.float32)
        for start in starts:
            total[start : start + side] += ramp
        shares = np.stack([ramp / total[start : start + side] for start in starts])
        return cls(length, side, starts, shares)


@dataclass(slots=True)
class Tiled:
    """A picture in tiles, and the map that grows from theirs.

    Attributes:
        image: the picture at the size that the tiles cover.
        frame: what brings polygons back to the original picture.
        columns: tiles from left to right.
        rows: tiles from top to bottom.
        probability: the sum of what the tiles seen so far say.
    """

    image: Image
    frame: Frame
    columns: Axis
    rows: Axis
    probability: _Map = field(init=False)

    def __post_init__(self) -> None:
        self.probability = np.zeros((self.rows.length, self.columns.length), np.float32)

    @property
    def places(self) -> list[tuple[int, int]]:
        """Row and column of each tile but those of one colour.

        They hold no text, and networks that look at their whole input may find some there.
        """
        grid = product(range(len(self.rows.starts)), range(len(self.columns.starts)))
        drawn = self.frame.cut(self.image)
        return [place for place in grid if _is_drawn(drawn[self._part(place)])]

    def tiles(self, number: int) -> Iterator[tuple[list[tuple[int, int]], list[Image]]]:
        """The tiles, so many at a time, with their places; all are of one size."""
        places = self.places
        for first in range(0, len(places), number):
            batch = places[first : first + number]
            yield batch, [self.image[self._part(place)] for place in batch]

    def add(self, place: tuple[int, int], probability: _Map) -> None:
        """Take in the map of the tile at a place."""
        row, column = place
        shares = self.rows.shares[row][:, None] * self.columns.shares[column]
        self.probability[self._part(place)] += shares * probability

    def _part(self, place: tuple[int, int]) -> tuple[slice, slice]:
        y, x = self.rows.starts[place[0]], self.columns.starts[place[1]]
        return slice(y, y + self.rows.side), slice(x, x + self.columns.side)


def _is_drawn(part: Image) -> bool:
    return part.size > 0 and bool((part != part[0, 0]).any())


def tiled(preprocess: Preprocess, image: Image) -> Tiled:
    """Cut a picture uint8[H, W, 3] into tiles of the network's size; a smaller one is fitted.

    Args:
        preprocess: of mode tile, so its size is a pair.
        image: read with its `img_mode`.
    """
    height, width = image.shape[:2]
    size, room = preprocess.pair, preprocess.room
    inner = fitted((width, height), size, "fit", room)
    if inner[0] < width:
        scale = min(1.0, math.sqrt(_MOST_PIXELS / (width * height)))
        inner = max(1, round(width * scale)), max(1, round(height * scale))
    outer = up(inner[0]), up(inner[1])
    # A network that takes any size is spared the padding of a tile beyond a narrow picture.
    side = tuple(
        max(min(own, most), least)
        for own, most, least in zip(outer, size, room.least if room else (0, 0), strict=True)
    )
    outer = max(outer[0], side[0]), max(outer[1], side[1])
    return Tiled(
        pad_to(resized(image, inner), outer[1], outer[0]),
        Frame(inner, (width / inner[0], height / inner[1]), (width, height)),
        Axis.of(outer[0], side[0]),
        Axis.of(outer[1], side[1]),
    )
