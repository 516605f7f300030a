"""A training sample: augmented, cropped and drawn by one warp, with its label maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ocdnet.data.augment import Step, View
from ocdnet.data.crop import RandomCrop, WordCrop
from ocdnet.data.preprocess import pad_to
from ocdnet.data.targets import Targets, make_targets
from ocdnet.geometry import Polygon


@dataclass(frozen=True, slots=True)
class BorderMap:
    """TAO's MakeBorderMap: see `make_targets`."""

    shrink_ratio: float
    thresh_min: float
    thresh_max: float


@dataclass(frozen=True, slots=True)
class ShrinkMap:
    """TAO's MakeShrinkMap: see `make_targets`."""

    shrink_ratio: float
    min_text_size: int


class CropResult(NamedTuple):
    """The outcome of a training crop, as `CropWatch` counts it."""

    image_has_text: bool
    """The image has a text region that is not ignored."""
    found_window: bool
    """A window was found; else the crop is the whole image."""
    crop_has_text: bool
    """The crop's shrink map holds text: there is something to learn from."""


@dataclass(frozen=True, slots=True)
class TrainSample:
    """What a training step needs of one image.

    Attributes:
        image: uint8[h, w, 3], not normalised.
        targets: label maps of [h, w].
        polygons: K arrays float32[N, 2] in pixels of `image`; none lies wholly outside, but after
            a rotation a part of one may lie in the padding.
        ignore: bool[K].
        crop: the crop's outcome.
    """

    image: NDArray[np.uint8]
    targets: Targets
    polygons: list[Polygon]
    ignore: NDArray[np.bool_]
    crop: CropResult


@dataclass(frozen=True, slots=True)
class TrainTransform:
    """A compiled training list: all geometry in one matrix, one cv2.warpAffine per sample."""

    steps: tuple[Step, ...]
    crop: RandomCrop | WordCrop
    border: BorderMap
    shrink: ShrinkMap

    def __call__(
        self,
        image: NDArray[np.uint8],
        polygons: Sequence[Polygon],
        ignore: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> TrainSample:
        """Augment uint8[H, W, 3], crop it and draw its label maps; a function of `rng`'s state.

        Args:
            image: as read by `read_image`.
            polygons: K arrays float32[N, 2], pixels of `image`.
            ignore: bool[K].
            rng: the sample's own generator, e.g. `default_rng([seed, epoch, index])`.
        """
        view = View(np.eye(3), (image.shape[1], image.shape[0]))
        for step in self.steps:
            view = step(view, rng)
        cared = [polygon for polygon, skip in zip(polygons, ignore, strict=True) if not skip]
        view, found_window = self.crop(view, view.move(cared), rng)
        moved = view.move(polygons)
        kept = [index for index, polygon in enumerate(moved) if _meets(polygon, view.size)]
        moved, ignore = [moved[index] for index in kept], ignore[kept]
        targets = self._targets(moved, ignore)
        # Text that a rotation has moved beyond the image's edge reaches into the padding, which is
        # black: nothing there may be learnt as text.
        targets.shrink_map[view.size[1] :] = 0
        targets.shrink_map[:, view.size[0] :] = 0
        result = CropResult(bool(cared), found_window, bool(targets.shrink_map.any()))
        return TrainSample(self._draw(image, view), targets, moved, ignore, result)

    def _draw(self, image: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
        drawn = cv2.warpAffine(image, view.matrix[:2], view.size, flags=cv2.INTER_LINEAR)
        if view.variance > 0:
            drawn = cv2.GaussianBlur(drawn, (0, 0), math.sqrt(view.variance))
        if view.colour is not None:
            drawn = cv2.transform(drawn, view.colour[:3])
        # Nothing of the image beyond the window may show in the padding: it may be a cut text.
        return pad_to(np.asarray(drawn, dtype=np.uint8), self.crop.size[1], self.crop.size[0])

    def _targets(self, polygons: list[Polygon], ignore: NDArray[np.bool_]) -> Targets:
        def draw(shrink_ratio: float) -> Targets:
            return make_targets(
                polygons,
                ignore,
                size=(self.crop.size[1], self.crop.size[0]),
                shrink_ratio=shrink_ratio,
                min_text_size=self.shrink.min_text_size,
                thresh_min=self.border.thresh_min,
                thresh_max=self.border.thresh_max,
            )

        targets = draw(self.shrink.shrink_ratio)
        if self.border.shrink_ratio == self.shrink.shrink_ratio:
            return targets
        border = draw(self.border.shrink_ratio)
        return replace(
            targets, threshold_map=border.threshold_map, threshold_mask=border.threshold_mask
        )


def _meets(polygon: Polygon, size: tuple[int, int]) -> bool:
    """Whether the polygon's bounding box meets the pixels of the canvas."""
    (left, top), (right, bottom) = polygon.min(axis=0), polygon.max(axis=0)
    return bool(right >= 0 and bottom >= 0 and left <= size[0] - 1 and top <= size[1] - 1)
