"""Many settings of the post-processing on one map, at little more than the cost of a few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ocdnet.geometry import Frame, Points, is_valid
from ocdnet.metrics import Overlaps
from ocdnet.postprocess import DBPostprocessor

_NINE = tuple(round(0.1 * step, 1) for step in range(1, 10))
_THRESH = (0.2, 0.3, 0.4, 0.5, 0.6)
_UNCLIP = (1.0, 1.2, 1.5, 1.8, 2.2)
_BOX_THRESH = tuple(round(0.2 + 0.05 * step, 2) for step in range(15))


class Setting(NamedTuple):
    """Settings of the post-processing, in the order in which a sweep shares its work."""

    polygon: bool
    thresh: float
    unclip_ratio: float
    box_thresh: float

    @classmethod
    def of(cls, one: DBPostprocessor) -> Setting:
        """Those of a post-processor."""
        return cls(one.polygon, one.thresh, one.unclip_ratio, one.box_thresh)


def grid(spec: Setting) -> list[Setting]:
    """What a sweep tries, sorted: quads and polygons, and what the spec says."""

    def values(grid: Sequence[float], own: float) -> list[float]:
        return sorted({*grid, own})

    return sorted(
        Setting(polygon, thresh, unclip_ratio, box_thresh)
        for polygon in (False, True)
        for thresh in values(_THRESH, spec.thresh)
        for unclip_ratio in values(_UNCLIP, spec.unclip_ratio)
        for box_thresh in values(_BOX_THRESH, spec.box_thresh)
    )


def nine(spec: Setting) -> list[Setting]:
    """The nine settings of which TAO's evaluation reports the best: thresh .1 to .9."""
    return [spec._replace(thresh=thresh) for thresh in _NINE]


def swept(
    probability: NDArray[np.float32],
    frame: Frame,
    texts: Sequence[Points],
    ignore: NDArray[np.bool_],
    settings: Sequence[Setting],
    max_candidates: int,
) -> NDArray[np.int64]:
    """What is counted with each setting.

    Args:
        probability: the map float32[h, w] of a picture.
        frame: what brings its polygons back to the picture.
        texts: polygons [N, 2] of the labels in pixels of the picture.
        ignore: bool for each label.
        settings: sorted, without doubles.
        max_candidates: regions that are looked at, at most.

    Returns:
        int64[len(settings), 2]: matches, and detections that count.
    """
    sound = [at for at, text in enumerate(texts) if is_valid(text)]
    texts, ignore = [texts[at] for at in sound], np.asarray(ignore)[sound]
    rows = _rows(frame.cut(probability), frame, texts, ignore, settings, max_candidates)
    return np.concatenate(list(rows))


def _rows(
    probability: NDArray[np.float32],
    frame: Frame,
    texts: Sequence[Points],
    ignore: NDArray[np.bool_],
    settings: Sequence[Setting],
    max_candidates: int,
) -> Iterator[NDArray[np.int64]]:
    for (polygon, thresh), of_map in groupby(settings, lambda one: (one.polygon, one.thresh)):
        by_unclip = [
            (unclip_ratio, [one.box_thresh for one in same])
            for unclip_ratio, same in groupby(of_map, lambda one: one.unclip_ratio)
        ]
        least = min(min(box_thresh) for _, box_thresh in by_unclip)
        find = DBPostprocessor(thresh, least, max_candidates, polygon=polygon)
        kernels = [
            kernel
            for contour in find.contours(probability)[0]
            if (kernel := find.kernel(probability, contour)) is not None and kernel[1] >= least
        ]
        for unclip_ratio, box_thresh in by_unclip:
            grow = DBPostprocessor(thresh, least, max_candidates, unclip_ratio, polygon)
            found, _ = grow.grown(kernels, frame)
            overlaps = Overlaps.of(found.polygons, texts, ignore)
            yield overlaps.counts(found.scores, box_thresh)
