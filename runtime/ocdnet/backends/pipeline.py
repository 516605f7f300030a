"""Images through a network, while threads read the next ones and finish the last ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ocdnet.backends.base import Batch, DevicePredictor, Predictor
from ocdnet.backends.maps import check_map
from ocdnet.data.preprocess import Prepared, Preprocess, pad_to
from ocdnet.data.reading import Page, read_image
from ocdnet.errors import DataError
from ocdnet.geometry import Frame
from ocdnet.hardware import cpus

T = TypeVar("T")
R = TypeVar("R")

_MOST_WORKERS = 16


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
    """What the network takes; None of no images."""


def predict(
    predictor: Predictor,
    preprocess: Preprocess,
    items: Iterable[T],
    path_of: Callable[[T], Path | Page],
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
        path_of: the image file of an item, or its page of one.
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
    reader = _Reader(predictor, preprocess, path_of, skipped)

    def checked(item: T, prediction: Prediction) -> R:
        source = path_of(item)
        check_map(
            prediction.probability, predictor, source.path if isinstance(source, Page) else source
        )
        return finish(item, prediction)

    threads = workers or min(_MOST_WORKERS, cpus())
    finishing: deque[tuple[T, Future[R]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        ahead = 1 + -(-threads // batch_size)
        ready = _ordered(partial(reader.submit, pool), _batches(items, batch_size), ahead)
        for batch, maps in _computed(predictor, ready):
            rows = zip(batch.items, batch.images, batch.prepared, maps, strict=True)
            for item, image, prepared, probability in rows:
                prediction = Prediction(image, prepared.frame, prepared.frame.cut(probability))
                finishing.append((item, pool.submit(checked, item, prediction)))
            # Not more than that: results that wait hold their images in memory.
            while len(finishing) > max(threads, 2 * batch_size):
                item, future = finishing.popleft()
                yield item, future.result()
        while finishing:
            item, future = finishing.popleft()
            yield item, future.result()


@dataclass(frozen=True)
class _Reader(Generic[T]):
    """Makes batches for a network, in threads; the fields are those arguments of `predict`."""

    predictor: Predictor
    preprocess: Preprocess
    path_of: Callable[[T], Path | Page]
    skipped: Callable[[T, DataError], None] | None

    def submit(self, pool: ThreadPoolExecutor, batch: list[T]) -> Future[_Ready[T]]:
        """Begin with a batch."""
        # The pool takes its work in order: whatever gathers waits for nothing behind it.
        return pool.submit(self._gather, batch, [pool.submit(self._load, item) for item in batch])

    def _load(self, item: T) -> tuple[NDArray[np.uint8], Prepared] | DataError:
        try:
            image = read_image(self.path_of(item), self.preprocess.img_mode)
        except DataError as error:
            return error
        return image, self.preprocess.prepare(image)

    def _gather(self, batch: Sequence[T], loading: Sequence[Future[Any]]) -> _Ready[T]:
        ready = _Ready[T]([], [], [], None)
        for item, future in zip(batch, loading, strict=True):
            loaded = future.result()
            if isinstance(loaded, DataError):
                if self.skipped is None:
                    raise loaded
                self.skipped(item, loaded)
                continue
            ready.items.append(item)
            ready.images.append(loaded[0])
            ready.prepared.append(loaded[1])
        images = [prepared.image for prepared in ready.prepared]
        return ready._replace(tensor=self._to_network(images)) if images else ready

    def _to_network(self, images: list[NDArray[np.uint8]]) -> Any:
        if not isinstance(self.predictor, DevicePredictor):
            return self.preprocess.to_tensor(images)
        height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
        padded = [pad_to(image, height, width) for image in images]
        return self.predictor.upload(padded, self.preprocess.normalisation)


def _computed(
    predictor: Predictor, batches: Iterable[_Ready[T]]
) -> Iterator[tuple[_Ready[T], Batch]]:
    """Each batch that has images with its maps; a device has the next one before they are read."""
    filled = (batch for batch in batches if batch.items)
    if not isinstance(predictor, DevicePredictor):
        for batch in filled:
            yield batch, predictor(batch.tensor)
        return
    started: deque[tuple[_Ready[T], Callable[[], Batch]]] = deque()
    for batch in filled:
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


def _ordered(submit: Callable[[T], Future[R]], items: Iterable[T], ahead: int) -> Iterator[R]:
    """The results of what `submit` starts, in order, with at most `ahead` of them waiting."""
    source = iter(items)
    waiting: deque[Future[R]] = deque(submit(item) for item in islice(source, ahead))
    while waiting:
        result = waiting.popleft().result()
        waiting.extend(submit(item) for item in islice(source, 1))
        yield result
