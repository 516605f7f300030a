"""Images through a network, while threads read the next ones and finish the last ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ocdnet.backends.base import Batch, Predictor
from ocdnet.data.preprocess import Prepared, Preprocess, read_image
from ocdnet.errors import DataError
from ocdnet.geometry import Frame
from ocdnet.ranks import cpus

T = TypeVar("T")
R = TypeVar("R")

_MOST_WORKERS = 8
_NOTHING: Batch = np.empty((0, 3, 0, 0), np.float32)


class Prediction(NamedTuple):
    """One image through the network."""

    image: NDArray[np.uint8]
    """As read: uint8[H, W, 3]."""
    frame: Frame
    """What brings polygons of the map back to the image."""
    probability: NDArray[np.float32]
    """float32[h, w], of the frame's size."""


class _Ready(NamedTuple, Generic[T]):
    """A batch before the network."""

    items: list[T]
    images: list[NDArray[np.uint8]]
    prepared: list[Prepared]
    tensor: Batch


def predict(
    predictor: Predictor,
    preprocess: Preprocess,
    items: Iterable[T],
    path_of: Callable[[T], Path],
    finish: Callable[[T, Prediction], R],
    *,
    batch_size: int = 1,
    skipped: Callable[[T, DataError], None] | None = None,
    workers: int | None = None,
) -> Iterator[tuple[T, R]]:
    """Put images through the network, while threads read the next ones and finish the last ones.

    Args:
        predictor: the network; it runs in the caller's thread.
        preprocess: how an image becomes its input.
        items: one for each image; a few batches are held at a time, however many there are.
        path_of: the image file of an item.
        finish: makes the result of an item's prediction; called in threads.
        batch_size: images through the network at once.
        skipped: called for an image that cannot be read, which is then left out; not given: its
            error is raised.
        workers: threads beside the network; not given: one for each CPU, 8 at most.

    Returns:
        Each item with what `finish` returned for it, in the items' order.

    Raises:
        DataError: an image that cannot be read.
    """

    def load(batch: Sequence[T]) -> _Ready[T]:
        ready: list[tuple[T, NDArray[np.uint8], Prepared]] = []
        for item in batch:
            try:
                image = read_image(path_of(item), preprocess.img_mode)
            except DataError as error:
                if skipped is None:
                    raise
                skipped(item, error)
            else:
                ready.append((item, image, preprocess.prepare(image)))
        prepared = [prepared for _, _, prepared in ready]
        tensor = preprocess.to_tensor([p.image for p in prepared]) if ready else _NOTHING
        return _Ready([i for i, _, _ in ready], [i for _, i, _ in ready], prepared, tensor)

    finishing: deque[tuple[T, Future[R]]] = deque()
    with ThreadPoolExecutor(workers or min(_MOST_WORKERS, cpus())) as pool:
        for batch in _ordered(pool, load, _batches(items, batch_size), ahead=2):
            maps = predictor(batch.tensor) if batch.items else ()
            rows = zip(batch.items, batch.images, batch.prepared, maps, strict=True)
            for item, image, prepared, probability in rows:
                prediction = Prediction(image, prepared.frame, prepared.frame.cut(probability))
                finishing.append((item, pool.submit(finish, item, prediction)))
            # Not more than that: results that wait hold their images in memory.
            while len(finishing) > 2 * batch_size:
                item, future = finishing.popleft()
                yield item, future.result()
        while finishing:
            item, future = finishing.popleft()
            yield item, future.result()


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch


def _ordered(
    pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], ahead: int
) -> Iterator[R]:
    """`map` in threads, in order, with at most `ahead` results waiting."""
    source = iter(items)
    waiting: deque[Future[R]] = deque(pool.submit(function, item) for item in islice(source, ahead))
    while waiting:
        result = waiting.popleft().result()
        waiting.extend(pool.submit(function, item) for item in islice(source, 1))
        yield result
