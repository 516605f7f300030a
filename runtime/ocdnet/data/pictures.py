"""All pictures of a set, decoded once in several threads: which can't be read, which are alike."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from ocdnet.data.alike import Hashes, picture_hash
from ocdnet.data.reading import read_small
from ocdnet.errors import DataError
from ocdnet.hardware import cpus

_AHEAD = 8
"""Pictures in work for each thread."""

Seen = tuple[int, int] | None


def decoded(images: Iterable[str]) -> Iterator[Seen | DataError]:
    """Of each picture in order its hash, None of a plain one, or why it can't be read."""
    threads = cpus()
    waiting: deque[Future[Seen | DataError]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for image in images:
            waiting.append(pool.submit(_seen, image))
            if len(waiting) > threads * _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def hashes_of(seen: Iterable[Seen | DataError]) -> tuple[Hashes, array[int], dict[int, DataError]]:
    """The hashes [N, 2] of pictures, the places of those that have one, and the errors by place."""
    flat, places, errors = array("Q"), array("q"), {}
    for place, one in enumerate(seen):
        if isinstance(one, DataError):
            errors[place] = one
        elif one is not None:
            flat.extend(one)
            places.append(place)
    return np.frombuffer(flat, np.uint64).reshape(-1, 2), places, errors


def _seen(image: str) -> Seen | DataError:
    try:
        return picture_hash(read_small(image))
    except DataError as error:
        return error
