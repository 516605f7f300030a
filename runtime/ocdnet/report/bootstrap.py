"""How sure a difference of two models is that were scored on the same pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
_BLOCK = 2_000_000


def difference_interval(
    first: NDArray[np.int64], second: NDArray[np.int64], *, share: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of hmean(second) - hmean(first), paired by picture.

    Pictures are drawn with replacement, as many as there are; both models are scored on the same
    draw, hmean = 2 matched / (gt_care + det_care) of the summed counts, and of 2000 differences
    the quantiles (1 - share) / 2 and (1 + share) / 2 are the interval. Source: B. Efron and R. J.
    Tibshirani, An Introduction to the Bootstrap (1993), section 13.3; of two systems on one test
    set: P. Koehn, Statistical Significance Tests for Machine Translation Evaluation (EMNLP 2004).

    Args:
        first: int64[N, 3], of each picture matched, gt_care and det_care; N is at least 1.
        second: the same of the other model, the same pictures in the same order.
        share: of the differences that lie in the interval.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    count = len(first)
    equal = np.full(count, 1 / count)
    differences: list[NDArray[np.float64]] = []
    left = RESAMPLES
    while left:
        rows = min(left, max(1, _BLOCK // count))
        draws = generator.multinomial(count, equal, size=rows)
        differences.append(_hmean(draws @ second) - _hmean(draws @ first))
        left -= rows
    tail = (1 - share) / 2
    low, high = np.quantile(np.concatenate(differences), [tail, 1 - tail])
    return float(low), float(high)


def _hmean(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of int64[R, 3], 0.0 where there is nothing to find and nothing found."""
    of = counts[:, 1] + counts[:, 2]
    return np.asarray(2 * counts[:, 0] / np.maximum(of, 1), np.float64)
