"""What every inference backend offers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ocdnet.data.preprocess import Normalisation
from ocdnet.data.reading import Image
from ocdnet.data.resizing import Room

Batch = NDArray[np.float32]


class BatchSizes(NamedTuple):
    """Numbers of images that a network takes as a batch: the least, the best and the most."""

    min: int
    opt: int
    max: int


class Predictor(Protocol):
    """A loaded network: normalised images in, probability maps out.

    Attributes:
        path: its file.
        backend: what runs it, e.g. "torch".
        img_mode: image mode that it was made for, None where it does not say.
        size: (width, height) of the only input it takes, a Room of those that it takes, or None
            where any multiples of 32 will do.
        normalisation: of its input, None for TAO's.
        batch: the batch sizes that it takes, None where any will do. The predictor itself fills a
            smaller batch up.
        device_type: cpu or cuda.
        advised: (width, height) that it was made for, None where it does not say.

    It may be called in several threads at once.
    """

    @property
    def path(self) -> Path:
        """Its file."""
        ...

    @property
    def backend(self) -> str:
        """What runs it."""
        ...

    @property
    def img_mode(self) -> str | None:
        """Image mode of its input."""
        ...

    @property
    def size(self) -> tuple[int, int] | Room | None:
        """(width, height) of its input, or a range of them."""
        ...

    @property
    def normalisation(self) -> Normalisation | None:
        """Of its input."""
        ...

    @property
    def batch(self) -> BatchSizes | None:
        """Images a batch."""
        ...

    @property
    def device_type(self) -> str:
        """Where it computes."""
        ...

    @property
    def advised(self) -> tuple[int, int] | None:
        """What it was made for."""
        ...

    def __call__(self, images: Batch) -> Batch:
        """float32[B, 3, H, W] -> probability float32[B, H, W]."""
        ...


@runtime_checkable
class DevicePredictor(Predictor, Protocol):
    """A predictor with memory of its own, to which images travel while it computes others."""

    def upload(self, images: Sequence[Image], normalisation: Normalisation) -> Any:
        """Images of one size, uint8[H, W, 3] each, to its memory; called in threads."""
        ...

    def start(self, images: Any) -> Callable[[], Batch]:
        """Begin a prediction of uploaded images; what it returns waits for the maps."""
        ...


def filled(images: Batch, least: int) -> Batch:
    """The batch, filled up to the least number of images by repeating the last one."""
    lacking = least - len(images)
    return np.concatenate([images, *[images[-1:]] * lacking]) if lacking > 0 else images
