"""How the pictures of a folder are shared out among the tasks of a cluster."""

from __future__ import annotations

import hashlib
import os
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
    digest = hashlib.blake2b(os.fsencode(stem), digest_size=8).digest()
    return int.from_bytes(digest, "big") % shards
