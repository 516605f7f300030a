"""Pictures that are nearly the same, found by what is lighter than its neighbour in each."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
"""uint64[N, 2]: of each picture 64 comparisons from left to right, and 64 downwards."""

_SIDE = 8
_LEAST_CONTRAST = 12
"""Grey levels below which a picture has nothing that could be compared."""
_NEAR = 3
"""Comparisons to the right that may differ: fewer than bands, so that one band is the same."""
_NEAR_ALL = 9
"""Of both directions together."""
_BANDS, _BAND_BITS = 4, 16
_NEIGHBOURS = 32
"""Pictures behind each that it is compared with, among those of the same band."""


def picture_hash(grey: NDArray[np.uint8]) -> tuple[int, int] | None:
    """What two pictures that look alike share nearly all bits of; None of a plain one.

    Args:
        grey: uint8[H, W].
    """
    small = cv2.resize(grey, (_SIDE + 1, _SIDE + 1), interpolation=cv2.INTER_AREA).astype(np.int16)
    if np.ptp(small) < _LEAST_CONTRAST:
        return None
    right = small[:_SIDE, 1:] > small[:_SIDE, :-1]
    down = small[1:, :_SIDE] > small[:-1, :_SIDE]
    one, two = (int.from_bytes(np.packbits(bits).tobytes()) for bits in (right, down))
    return one, two


def alike_groups(hashes: Hashes) -> NDArray[np.int64]:
    """Of each hash the place of the first one of its group, in N log N time and flat memory.

    Hashes that are nearly equal are in one group. Of those with the same quarter, in the order of
    the rest, each is compared with the next 32: of more alike ones the chain still joins them all.
    """
    groups, first = np.arange(len(hashes)), hashes[:, 0]
    for band in range(_BANDS):
        shift = np.uint64(band * _BAND_BITS)
        # The band to the top, the others behind it.
        turned = (first << shift) | (first >> (np.uint64(64) - shift)) if band else first
        order = np.argsort(turned, kind="stable")
        key = turned[order] >> np.uint64(64 - _BAND_BITS)
        for step in range(1, min(_NEIGHBOURS, len(order) - 1) + 1):
            here, there = order[:-step], order[step:]
            differing = np.bitwise_count(hashes[here] ^ hashes[there])
            near = (differing[:, 0] <= _NEAR) & (differing.sum(axis=1) <= _NEAR_ALL)
            near &= (key[:-step] == key[step:]) & (groups[here] != groups[there])
            groups = _joined(groups, here[near], there[near])
    return groups


def _joined(
    groups: NDArray[np.int64], one: NDArray[np.intp], two: NDArray[np.intp]
) -> NDArray[np.int64]:
    """The groups when those of each pair are joined; a group is called by its first member."""
    while (groups[one] != groups[two]).any():
        low = np.minimum(groups[one], groups[two])
        joined = groups.copy()
        np.minimum.at(joined, groups[one], low)
        np.minimum.at(joined, groups[two], low)
        groups = joined[joined[groups]]
    return groups
