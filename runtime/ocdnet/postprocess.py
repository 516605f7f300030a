"""From a probability map to text polygons in pixels of the original image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ocdnet.config.shared import PostProcessing
from ocdnet.findings import note
from ocdnet.geometry import Frame, Polygon, min_area_quad, order_quad, short_side, unclip

_Scored: TypeAlias = tuple[Polygon, float]

# Rectangles whose short side (pixels of the map) is below these, before and after unclipping, are
# noise.
_MIN_SIDE = 3
_MIN_SIDE_UNCLIPPED = 5
# Tolerance of the outline in polygon mode, as a part of its length: next to no simplification.
_OUTLINE_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Detections:
    """Text found in one image."""

    polygons: list[Polygon]
    """float32[N, 2] each, in pixels of the original image, not rounded."""
    scores: NDArray[np.float32]
    """Mean probability of each polygon's kernel: float32[K] in 0..1."""


@dataclass(frozen=True, slots=True)
class DBPostprocessor:
    """Threshold, contours, score, unclip, quad or polygon (DBNet, section 3.5; TAO's rules)."""

    thresh: float = 0.3
    """A pixel is text above this probability."""
    box_thresh: float = 0.55
    """A region is kept from this mean probability on."""
    max_candidates: int = 1000
    """Regions looked at: the largest, in the order OpenCV finds them."""
    unclip_ratio: float = 1.5
    """r' of the offset D' = A' r' / L' that grows a kernel to its text."""
    polygon: bool = False
    """Return outlines of any number of points instead of rotated rectangles."""
    section: str = ""
    """Section of the spec whose `post_processing` this is; empty: of none."""

    @classmethod
    def from_spec(cls, config: PostProcessing, polygon: bool, section: str) -> DBPostprocessor:
        """The one that a `post_processing` section describes.

        Args:
            config: the section.
            polygon: whether outlines are wanted; a key of another section says so.
            section: that it stands in.
        """
        args = config.args
        numbers = args.thresh, args.box_thresh, args.max_candidates, args.unclip_ratio
        return cls(*numbers, polygon, section)

    def __call__(
        self,
        probability: NDArray[np.float32],
        frame: Frame | None = None,
        image: Path | str | None = None,
    ) -> Detections:
        """Find the text in one map; notes how many regions are above `max_candidates`.

        Args:
            probability: float32[H, W] in 0..1.
            frame: where the image lies in the map, whose other pixels are not looked at; not
                given: the map is as large as the image.
            image: its name, for the note.

        Returns:
            Polygons clipped to 0..width and 0..height inclusive, quads as `order_quad` orders them
            in pixels of the image; rejected regions are absent.
        """
        frame = frame or Frame.whole(probability)
        probability = frame.cut(probability)
        bitmap = (probability > self.thresh).astype(np.uint8)
        # RETR_LIST: the outlines of holes are candidates, too, as in TAO.
        contours, _ = cv2.findContours(bitmap, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        looked_at, cut = _largest(contours, self.max_candidates)
        if cut:
            self._note(cut, image)
        find = self._polygon if self.polygon else self._quad
        regions = [
            find(probability, np.asarray(contour, np.int32).reshape(-1, 2)) for contour in looked_at
        ]
        kept = [region for region in regions if region is not None]
        polygons = [polygon for polygon, _ in kept]
        if not self.polygon:
            polygons = [order_quad(quad, frame.scale) for quad in polygons]
        return Detections(
            polygons=frame.to_image(polygons),
            scores=np.array([score for _, score in kept], np.float32),
        )

    def _note(self, cut: int, image: Path | str | None) -> None:
        key = f"{self.section}.post_processing.args.max_candidates" if self.section else ""
        note(
            "too-many-regions",
            f"Of an image's regions the {self.max_candidates} largest are looked at "
            f"({key or 'max_candidates'}); smaller ones were left out",
            key=key,
            file=image,
            count=cut,
        )

    def _quad(self, probability: NDArray[np.float32], contour: NDArray[np.int32]) -> _Scored | None:
        """The grown minimum-area rectangle of a contour with its score, or None where rejected."""
        kernel, side = min_area_quad(contour)
        if side < _MIN_SIDE:  # noise: not worth a score
            return None
        score = _mean_inside(probability, kernel)
        if score < self.box_thresh:
            return None
        pieces = unclip(kernel, self.unclip_ratio)
        if len(pieces) != 1:
            return None
        quad, side = min_area_quad(pieces[0])
        return None if side < _MIN_SIDE_UNCLIPPED else (quad, score)

    def _polygon(
        self, probability: NDArray[np.float32], contour: NDArray[np.int32]
    ) -> _Scored | None:
        """The grown outline of a contour with its score, or None where rejected.

        An outline that touches itself may grow into several pieces, or a piece and holes, and a
        ragged one into none: such a region is rejected.
        """
        outline = cv2.approxPolyDP(contour, _OUTLINE_TOLERANCE * cv2.arcLength(contour, True), True)
        if len(outline) < 4:
            return None
        score = _mean_inside(probability, contour)
        if score < self.box_thresh:
            return None
        pieces = unclip(outline.reshape(-1, 2), self.unclip_ratio)
        if len(pieces) != 1 or short_side(pieces[0]) < _MIN_SIDE_UNCLIPPED:
            return None
        return pieces[0], score


def _largest(contours: Sequence[Any], limit: int) -> tuple[Sequence[Any], int]:
    """The largest contours, in their order, and how many of the others are more than specks."""
    if len(contours) <= limit:
        return contours, 0
    # OpenCV finds the lowest first: of equal ones those at the top are kept, where reading starts.
    areas = [-cv2.contourArea(contour) for contour in reversed(contours)]
    ranked = len(contours) - 1 - np.argsort(areas, kind="stable")
    cut = sum(short_side(contours[at].reshape(-1, 2)) >= _MIN_SIDE for at in ranked[limit:])
    return [contours[at] for at in sorted(ranked[:limit])], cut


def _mean_inside(probability: NDArray[np.float32], polygon: Polygon | NDArray[np.int32]) -> float:
    """Mean probability of the pixels that a polygon fills."""
    height, width = probability.shape
    # Within the polygon's own box: a mask of the whole map for each region would take far longer.
    xs, ys = polygon.T.tolist()
    left, right = max(math.floor(min(xs)), 0), min(math.ceil(max(xs)), width - 1)
    top, bottom = max(math.floor(min(ys)), 0), min(math.ceil(max(ys)), height - 1)
    mask = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
    cv2.fillPoly(mask, [polygon.astype(np.int32)], 1, offset=(-left, -top))
    return float(cv2.mean(probability[top : bottom + 1, left : right + 1], mask)[0])
