"""Warns where training crops hold nothing to learn from: nothing else would show it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ocdnet.data.crop import WordCrop
from ocdnet.data.transforms import CropResult, TrainTransform

FIRST = 200
"""Crops that are counted, at most."""

_LOG = logging.getLogger("ocdnet")


class CropWatch:
    """Counts the first crops of a run, and warns if more than half of them are of no use.

    Crops of images without text are not counted: they are meant to be empty.

    Args:
        transform: what makes the crops; the warning names its settings.
    """

    def __init__(self, transform: TrainTransform) -> None:
        self._transform = transform
        self._results: list[CropResult] = []
        self._seen = 0
        self._done = False

    def see(self, results: Sequence[CropResult], epoch_length: int) -> None:
        """Count a batch; judge when FIRST crops, or an epoch of `epoch_length`, were seen."""
        if self._done:
            return
        self._seen += len(results)
        self._results += [result for result in results if result.image_has_text]
        if self._seen >= min(FIRST, epoch_length):
            self._done = True
            self._judge(len(self._results))

    def _judge(self, total: int) -> None:
        crop, shrink = self._transform.crop, self._transform.shrink
        useless = sum(not result.crop_has_text for result in self._results)
        whole = sum(not result.found_window for result in self._results)
        if isinstance(crop, WordCrop) or max(useless, whole) * 2 <= total:
            return  # a WordCrop has a word in it wherever there is one
        _LOG.warning(
            "Of the first %d training crops of images with text, %d hold no text to learn from "
            "(none of at least MakeShrinkMap's min_text_size, %d pixels, once scaled into %dx%d), "
            "and %d are the whole image (no window that cuts no text in EastRandomCropData's "
            "max_tries, %d). Enlarge EastRandomCropData's size, lower its min_crop_side_ratio (%g) "
            "or min_text_size, or raise max_tries.",
            total,
            useless,
            shrink.min_text_size,
            *crop.size,
            whole,
            crop.max_tries,
            crop.min_side_ratio,
        )
