"""Dividing a set into a part to train on and one to judge by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ocdnet.data.label_reader import Region
from ocdnet.data.picture_header import PictureSize


class WordCounts:
    """Of each picture the number of its words, and whether it has any region.

    Attributes:
        words: regions that are not ignored, of each picture.
        regions: all of them.
    """

    def __init__(self) -> None:
        self.words: list[int] = []
        self.regions: list[int] = []

    def see(self, _: str, regions: list[Region], __: PictureSize | None) -> None:
        """Count a picture."""
        self.words.append(sum(not (region.tagged or region.flat) for region in regions))
        self.regions.append(len(regions))


def held_out(
    words: Sequence[int], groups: Sequence[int], share: float, seed: int
) -> frozenset[int]:
    """The places of the pictures to judge by.

    Pictures of a group stay together. Groups with about as many words are put in a random order
    beside one another, and along them each is held out that brings what is held out so far closer
    to its share: so both parts have empty, sparse and full pictures in the same proportion.

    Args:
        words: of each picture.
        groups: of each picture the group that it belongs to.
        share: of the pictures that is to be held out, 0..1.
        seed: of the order.
    """
    members: dict[int, list[int]] = {}
    for place, group in enumerate(groups):
        members.setdefault(group, []).append(place)
    rng = np.random.default_rng(seed)
    drawn = rng.random(len(members))

    def kind(places: list[int]) -> int:
        mean = sum(words[place] for place in places) / len(places)
        return round(mean).bit_length()  # none, 1, 2 and 3, 4 to 7, ...

    ordered = sorted(zip(map(kind, members.values()), drawn, members.values(), strict=True))
    due, chosen = rng.uniform(-0.5, 0.5), set[int]()
    for _, _, places in ordered:
        due += share * len(places)
        if due >= len(places) / 2:
            chosen.update(places)
            due -= len(places)
    return frozenset(chosen)
