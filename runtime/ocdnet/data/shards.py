"""How the pictures of a folder are shared out among the tasks of a cluster."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import PurePath

from ocdnet.data.layout import HEIC, IMAGE_SUFFIXES, PDF

_SUFFIXES = IMAGE_SUFFIXES | HEIC | {PDF}


def shard_of(path: str, shards: int) -> int:
    """The part that a picture belongs to: the same on each machine and in each run.

    Pictures whose results could be named alike, x.jpg and x.png, belong to one part.

    Args:
        path: below the folder of the pictures, with `/`.
        shards: number of parts.
    """
    stem = path
    while PurePath(stem).suffix.lower() in _SUFFIXES:
        stem = stem[: -len(PurePath(stem).suffix)]
    return _number(stem) % shards


@dataclass
class Share:
    """Tells the pictures of a part from others, and adds up what tells one folder from another.

    Attributes:
        shards: number of parts.
        shard: the part.
        seen: a number that all parts come to if they were shown the same pictures.
    """

    shards: int
    shard: int
    seen: int = 0

    def __call__(self, path: str) -> bool:
        """Whether the part has a file, by its path below the folder of the pictures."""
        if PurePath(path).suffix.lower() in _SUFFIXES:
            self.seen = (self.seen + _number(path)) % (1 << 64)
        return shard_of(path, self.shards) == self.shard


def _number(path: str) -> int:
    digest = hashlib.blake2b(os.fsencode(path), digest_size=8).digest()
    return int.from_bytes(digest, "big")
