"""The weights and images that the reference's forward passes were made with.

A tensor depends on its state-dict key and shape alone, an image on its seed: facts of
../shared/vectors, not choices of ours. numpy's legacy generator is frozen, so every version of
numpy draws the same numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from numpy.random import RandomState
from torch import Tensor


def seeded_image(seed: int, shape: tuple[int, ...]) -> Tensor:
    """Normal noise of deviation 0.3, float32[shape]."""
    return torch.from_numpy(0.3 * RandomState(seed).standard_normal(shape).astype(np.float32))


def seeded_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A tensor of the same key, shape and dtype for each of `state`."""
    return {key: _seeded(key, own.shape).to(own.dtype) for key, own in state.items()}


def _seeded(key: str, shape: torch.Size) -> Tensor:
    if key.endswith(".num_batches_tracked"):
        return torch.zeros(shape)
    # float64 until the end: rounding earlier would change the last digit.
    noise = RandomState(zlib.crc32(key.encode())).standard_normal(tuple(shape))
    if key.endswith(".running_var"):
        values = 1 + 0.2 * np.abs(noise)
    elif key.endswith((".running_mean", ".bias")):
        values = 0.1 * noise
    elif len(shape) == 1:  # the scale of a normalisation
        values = 1 + 0.1 * noise
    else:
        gain = 0.25 if "conv2_offset" in key else 1.0  # offsets of a pixel or so
        values = noise * np.sqrt(gain / np.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32))
