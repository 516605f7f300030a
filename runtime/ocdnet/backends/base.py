"""What every inference backend offers."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Batch = NDArray[np.float32]


class Predictor(Protocol):
    """A loaded network: normalised images in, probability maps out.

    Attributes:
        img_mode: image mode that it was made for, None where it does not say.
        size: (width, height) of the only input it takes, None where any multiple of 32 will do.
    """

    img_mode: str | None
    size: tuple[int, int] | None

    def __call__(self, images: Batch) -> Batch:
        """float32[B, 3, H, W] -> probability float32[B, H, W]."""
        ...
