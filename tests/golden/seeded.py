"""What the reference's inputs hold of a seed's numbers: made again, so that no file holds it.

Facts of ../shared/vectors, as fill.py's. numpy's legacy generator is frozen, so every version of
numpy draws the same numbers; pack.py leaves out only what comes out bit for bit.
"""

from __future__ import annotations

import numpy as np
from numpy.random import RandomState

LOSS_CASES = 6
_LOSS_SHAPE = (2, 48, 48)
# What each map's shapes drew of its seed before the noise.
_DRAWN_BEFORE = (194, 196, 420, 840, 0)


def loss_inputs() -> dict[str, np.ndarray]:
    """Logits, thresholds and threshold map of every case, drawn one case after the other."""
    draws = RandomState(11)
    made = {}
    for case in range(LOSS_CASES):
        logits = draws.standard_normal(_LOSS_SHAPE).astype(np.float32) * np.float32(3)
        made[f"c{case}_logits"] = logits
        made[f"c{case}_thresholds"] = draws.uniform(0, 1, _LOSS_SHAPE).astype(np.float32)
        made[f"c{case}_threshold_map"] = draws.uniform(0.3, 0.7, _LOSS_SHAPE).astype(np.float32)
        draws.uniform(0, 1, _LOSS_SHAPE)  # the mask's; the last case has none
    return made


def map_noise(case: int, shape: tuple[int, ...]) -> np.ndarray:
    """The noise that a probability map has where no text is near, float16[shape]."""
    draws = RandomState(case + 1)
    draws.random_sample(_DRAWN_BEFORE[case])
    noise = (0.03 * draws.standard_normal(shape)).astype(np.float32)
    return noise.clip(0, 1).astype(np.float16)
