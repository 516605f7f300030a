"""Images through a network, while threads read the next ones and finish the last ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby, islice
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ocdnet.backends.base import Batch, DevicePredictor, Predictor
from ocdnet.backends.maps import check_map
from ocdnet.data.preprocess import Prepared, Preprocess, pad_to
from ocdnet.data.sources import Source, name_of, read_source
from ocdnet.data.tiles import Tiled, tiled
from ocdnet.errors import DataError
from ocdnet.geometry import Frame
from ocdnet.hardware import cpus

T = TypeVar("T")
R = TypeVar("R")

_MOST_WORKERS = 16
_LARGE_AHEAD = 2
"""Pictures in tiles that are held before and after the network: each may fill much memory."""


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
    tensor: Any
    """What the network takes."""


def predict(
    predictor: Predictor,
    preprocess: Preprocess,
    items: Iterable[T],
    source_of: Callable[[T], Source],
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
        source_of: the picture of an item.
        finish: makes the result of an item's prediction; called in threads.
        batch_size: images through the network at once.
        skipped: called for an image that cannot be read, which is then left out; not given: its
            error is raised.
        workers: threads beside the network; not given: one for each CPU, 16 at most.

    Returns:
        Each item with what `finish` returned for it, in the items' order.

    Raises:
        DataError: an image that cannot be read, or a map that holds no probabilities.
    """
    reader = _Reader(predictor, preprocess, source_of, skipped)

    def checked(item: T, prediction: Prediction) -> R:
        check_map(prediction.probability, predictor, name_of(source_of(item)) or "a picture")
        return finish(item, prediction)

    threads = workers or min(_MOST_WORKERS, cpus())
    finishing: deque[tuple[T, Future[R]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        tiles = preprocess.resize == "tile"
        predictions = (_in_tiles if tiles else _whole)(reader, pool, items, batch_size, threads)
        # Not more than that: results that wait hold their images in memory.
        most = _LARGE_AHEAD if tiles else max(threads, 2 * batch_size)
        for item, prediction in predictions:
            finishing.append((item, pool.submit(checked, item, prediction)))
            while len(finishing) > most:
                done, future = finishing.popleft()
                yield done, future.result()
        while finishing:
            done, future = finishing.popleft()
            yield done, future.result()


@dataclass(frozen=True)
class _Reader(Generic[T]):
    """Makes batches for a network, in threads; the fields are those arguments of `predict`."""

    predictor: Predictor
    preprocess: Preprocess
    source_of: Callable[[T], Source]
    skipped: Callable[[T, DataError], None] | None

    def submit(self, pool: ThreadPoolExecutor, batch: list[T]) -> Future[list[_Ready[T]]]:
        """Begin with a batch, which falls into several where its images are of several sizes."""
        # The pool takes its work in order: whatever gathers waits for nothing behind it.
        return pool.submit(self._gather, [pool.submit(self._load, item) for item in batch])

    def read(self, item: T) -> NDArray[np.uint8] | None:
        """The image of an item; None where it is left out."""
        try:
            return read_source(self.source_of(item), self.preprocess.img_mode)
        except DataError as error:
            if self.skipped is None:
                raise
            self.skipped(item, error)
            return None

    def _load(self, item: T) -> tuple[T, NDArray[np.uint8], Prepared] | None:
        image = self.read(item)
        return None if image is None else (item, image, self.preprocess.prepare(image))

    def _gather(self, loading: Sequence[Future[Any]]) -> list[_Ready[T]]:
        loaded = [row for future in loading if (row := future.result()) is not None]
        # A picture's result must not depend on its neighbours: padding to theirs would change it.
        # Only stretched ones, as TAO does, are padded to the largest of the batch.
        alike = self.preprocess.resize == "stretch"
        batches = groupby(loaded, lambda row: None if alike else row[2].image.shape)
        return [self._ready(list(batch)) for _, batch in batches]

    def _ready(self, batch: list[tuple[T, NDArray[np.uint8], Prepared]]) -> _Ready[T]:
        items, images, prepared = (list(column) for column in zip(*batch, strict=True))
        return _Ready(items, images, prepared, self.to_network([one.image for one in prepared]))

    def to_network(self, images: list[NDArray[np.uint8]]) -> Any:
        if not isinstance(self.predictor, DevicePredictor):
            return self.preprocess.to_tensor(images)
        height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
        padded = [pad_to(image, height, width) for image in images]
        return self.predictor.upload(padded, self.preprocess.normalisation)


def _whole(
    reader: _Reader[T], pool: ThreadPoolExecutor, items: Iterable[T], batch_size: int, threads: int
) -> Iterator[tuple[T, Prediction]]:
    """Each item's prediction, of one input of the network for each."""
    ahead = 1 + -(-threads // batch_size)
    gathered = ordered(partial(reader.submit, pool), _batches(items, batch_size), ahead)
    for batch, maps in _computed(reader.predictor, chain.from_iterable(gathered)):
        rows = zip(batch.items, batch.images, batch.prepared, maps, strict=True)
        for item, image, prepared, probability in rows:
            yield item, Prediction(image, prepared.frame, prepared.frame.cut(probability))


def _in_tiles(
    reader: _Reader[T], pool: ThreadPoolExecutor, items: Iterable[T], batch_size: int, threads: int
) -> Iterator[tuple[T, Prediction]]:
    """Each item's prediction, of several inputs for a large picture; few are held at a time."""

    def load(item: T) -> tuple[T, NDArray[np.uint8], Tiled] | None:
        image = reader.read(item)
        return None if image is None else (item, image, tiled(reader.preprocess, image))

    ahead = min(threads, _LARGE_AHEAD)
    for loaded in ordered(lambda item: pool.submit(load, item), items, ahead):
        if loaded is None:
            continue
        item, image, picture = loaded
        for places, tiles in picture.tiles(batch_size):
            maps = _run(reader.predictor, reader.to_network(tiles))
            for place, probability in zip(places, maps, strict=True):
                picture.add(place, probability)
        yield item, Prediction(image, picture.frame, picture.frame.cut(picture.probability))


def _run(predictor: Predictor, tensor: Any) -> Batch:
    return (
        predictor.start(tensor)() if isinstance(predictor, DevicePredictor) else predictor(tensor)
    )


def _computed(
    predictor: Predictor, batches: Iterable[_Ready[T]]
) -> Iterator[tuple[_Ready[T], Batch]]:
    """Each batch with its maps; a device has the next one before they are read."""
    if not isinstance(predictor, DevicePredictor):
        for batch in batches:
            yield batch, predictor(batch.tensor)
        return
    started: deque[tuple[_Ready[T], Callable[[], Batch]]] = deque()
    for batch in batches:
        started.append((batch, predictor.start(batch.tensor)))
        if len(started) > 1:
            before, maps = started.popleft()
            yield before, maps()
    for before, maps in started:
        yield before, maps()


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch


def ordered(submit: Callable[[T], Future[R]], items: Iterable[T], ahead: int) -> Iterator[R]:
    """The results of what `submit` starts, in order, with at most `ahead` of them waiting."""
    source = iter(items)
    waiting: deque[Future[R]] = deque(submit(item) for item in islice(source, ahead))
    while waiting:
        result = waiting.popleft().result()
        waiting.extend(submit(item) for item in islice(source, 1))
        yield result
