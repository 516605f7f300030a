"""From a model file to its predictor, and the images through it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ocdnet.backends.base import Predictor
from ocdnet.config.model import ModelConfig
from ocdnet.data.preprocess import Prepared, Preprocess, read_image
from ocdnet.errors import DataError

T = TypeVar("T")


def open_predictor(
    path: Path, model: ModelConfig, num_gpus: int = 1, gpu_ids: Sequence[int] = (0,)
) -> Predictor:
    """The predictor of a .pth checkpoint or an .onnx file, by suffix.

    Raises:
        DataError: another suffix, or a file that cannot be used.
        EnvironmentFault: the backend or the device is not here.
    """
    if path.suffix == ".onnx":
        from ocdnet.backends.onnx import OnnxPredictor

        return OnnxPredictor(path)
    if path.suffix in (".pth", ".tlt", ".ckpt"):
        from ocdnet.backends.torch import TorchPredictor
        from ocdnet.devices import torch_device

        return TorchPredictor(path, model, torch_device(num_gpus, gpu_ids))
    raise DataError(
        "unknown-model-file",
        f"Cannot tell what kind of model {path} is",
        got=path.suffix,
        expected=".pth or .onnx",
    )


def check_fit(predictor: Predictor, preprocess: Preprocess, path: Path) -> None:
    """Refuse to feed a network other images than it was made for.

    Raises:
        DataError: the spec's image mode or size is not the artifact's; both are named.
    """
    if predictor.img_mode not in (None, preprocess.img_mode):
        raise DataError(
            "img-mode-mismatch",
            f"{path} was made for images in another channel order",
            got=preprocess.img_mode,
            expected=predictor.img_mode,
            hint=f"Set img_mode to {predictor.img_mode} in the spec.",
        )
    if predictor.size is not None and predictor.size != preprocess.size:
        width, height = predictor.size
        raise DataError(
            "size-mismatch",
            f"{path} takes images of one size only",
            got=preprocess.size,
            expected=f"width {width}, height {height}",
            hint="Set that size in the spec, or export the network again with yours.",
        )


class Prediction(NamedTuple):
    """One image through the network."""

    image: NDArray[np.uint8]
    """As read: uint8[H, W, 3]."""
    prepared: Prepared
    probability: NDArray[np.float32]
    """float32[h, w], at the prepared image's size."""


def predict(
    predictor: Predictor,
    preprocess: Preprocess,
    items: Iterable[T],
    path_of: Callable[[T], Path],
    batch_size: int,
    workers: int = 2,
) -> Iterator[tuple[T, Prediction]]:
    """Read, prepare and predict images in order, reading ahead in threads.

    Args:
        predictor: the network.
        preprocess: how an image becomes its input.
        items: what is to be predicted; a few batches are held at a time.
        path_of: the image file of an item.
        batch_size: images through the network at once.
        workers: threads that read ahead.

    Raises:
        DataError: an image that cannot be read.
    """

    def load(item: T) -> tuple[T, NDArray[np.uint8], Prepared]:
        image = read_image(path_of(item), preprocess.img_mode)
        return item, image, preprocess.prepare(image)

    with ThreadPoolExecutor(workers) as pool:
        loaded = _ordered(pool, load, items, ahead=2 * batch_size)
        while batch := list(islice(loaded, batch_size)):
            maps = predictor(preprocess.to_tensor([prepared.image for _, _, prepared in batch]))
            for (item, image, prepared), probability in zip(batch, maps, strict=True):
                height, width = prepared.image.shape[:2]
                yield item, Prediction(image, prepared, probability[:height, :width])


U = TypeVar("U")


def _ordered(
    pool: ThreadPoolExecutor, function: Callable[[T], U], items: Iterable[T], ahead: int
) -> Iterator[U]:
    """`map` in threads, in order, with at most `ahead` results waiting."""
    source = iter(items)
    waiting: deque[Future[U]] = deque(pool.submit(function, item) for item in islice(source, ahead))
    while waiting:
        result = waiting.popleft().result()
        waiting.extend(pool.submit(function, item) for item in islice(source, 1))
        yield result
