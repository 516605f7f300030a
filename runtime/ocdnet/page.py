"""What a detector found in a picture, and what can be made of it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ocdnet.crops import crop
from ocdnet.data.reading import FilePage, Image
from ocdnet.data.sources import read_source
from ocdnet.errors import UsageError
from ocdnet.geometry import Frame, Polygon
from ocdnet.reading_order import reading_order
from ocdnet.runs.pages import PageRecord, Region
from ocdnet.runs.typed import to_json
from ocdnet.visualize import draw_detections, heat_map, write_image

_DECIMALS = 2
"""Of a coordinate in JSON: a hundredth of a pixel."""


@dataclass(frozen=True, slots=True)
class Held:
    """A picture in memory.

    Attributes:
        image: uint8[H, W, 3].
        img_mode: BGR, RGB or GRAY, as it was read.
        probability: float32[h, w] in 0..1, the network's map of the whole picture, at the size at
            which the network saw it; None where it was let go.
        frame: what brings polygons of the map back to the picture; None where nobody said.
        again: whether the page's source, read again, is this picture: not of what only bears the
            name of a file.
    """

    image: Image
    img_mode: str
    probability: NDArray[np.float32] | None
    frame: Frame | None = None
    again: bool = False


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Page:
    """The text of one picture.

    Attributes:
        polygons: float32[K, 2] each, (x, y) in pixels of the original picture, 0..width and
            0..height inclusive. Quads (K = 4) start where a reader of their text would and run
            clockwise on the screen.
        scores: float32[N] in 0..1: how sure the detector is of each.
        size: (width, height) of the picture in pixels, turned upright.
        source: its path or its file's name; None of a picture without a name.
        number: of a page of a PDF or TIFF file, from 0; None of other pictures.
    """

    polygons: list[Polygon]
    scores: NDArray[np.float32]
    size: tuple[int, int]
    source: str | None = None
    number: int | None = None
    _held: Held | None = field(default=None)

    def __len__(self) -> int:
        """Number of regions."""
        return len(self.polygons)

    def __repr__(self) -> str:
        name = "" if self.source is None else f"{self.source}: "
        return f"<Page {name}{len(self)} regions on {self.size[0]} x {self.size[1]} pixels>"

    @property
    def image(self) -> Image:
        """The picture, uint8[H, W, 3] in the order blue, green, red.

        Read again from its file where it is not held: see `Detector.__call__`.

        Raises:
            DataError: the file can't be read any more.
        """
        if self._held is None:
            return read_source(FilePage(Path(str(self.source)), self.number))
        if self._held.img_mode != "RGB":
            return self._held.image
        return np.asarray(cv2.cvtColor(self._held.image, cv2.COLOR_RGB2BGR), dtype=np.uint8)

    @property
    def probability(self) -> NDArray[np.float32] | None:
        """The network's map float32[h, w] in 0..1 of the whole picture; None where not held."""
        return self._held.probability if self._held else None

    def held_map(self) -> tuple[NDArray[np.float32], Frame]:
        """The network's map, and what brings its polygons back to the picture.

        Raises:
            UsageError: the map is not held.
        """
        if self._held is None or self._held.probability is None:
            raise _no_map()
        probability = self._held.probability
        return probability, self._held.frame or Frame.whole(probability)

    def let_go(self) -> Page:
        """The same without what can be read again: the pixels of a file; and without the map."""
        if self._held is None:
            return self
        held = None if self._held.again else replace(self._held, probability=None)
        return replace(self, _held=held)

    def in_reading_order(self) -> Page:
        """The same with its regions as a reader goes through them: columns, lines, words.

        From top to bottom and from left to right; see `ocdnet.reading_order`.
        """
        order = reading_order(self.polygons)
        polygons = [self.polygons[index] for index in order]
        return replace(self, polygons=polygons, scores=self.scores[order])

    def crops(self, margin: float = 0.05, lay_flat: bool = False) -> list[Image]:
        """Each region as a small upright picture, as recognisers of text take them.

        Quads are rectified by a perspective transform in the order of their corners; of a polygon
        the smallest rectangle around it is taken.

        Args:
            margin: pixels around the region, as a part of its shorter side; 0: none.
            lay_flat: turn regions that are taller than 1.5 times their width by 90 degrees
                counter-clockwise.

        Returns:
            uint8[h, w, 3] each, in the order blue, green, red; one for each polygon.
        """
        image = self.image
        return [crop(image, polygon, margin, lay_flat) for polygon in self.polygons]

    def draw(self, path: str | os.PathLike[str] | None = None) -> Image:
        """The picture with outlines and scores drawn on it, uint8[H, W, 3] in the order BGR.

        Args:
            path: write it there, too, in the format of the suffix (.jpg, .png, .webp).

        Raises:
            UserError: OpenCV has no format of this suffix, or the file can't be written.
        """
        drawn = draw_detections(self.image, self.polygons, self.scores.tolist())
        if path is not None:
            write_image(Path(path), drawn)
        return drawn

    def heatmap(self, path: str | os.PathLike[str] | None = None) -> Image:
        """The picture with the network's map laid over it, uint8[H, W, 3] in the order BGR.

        Raises:
            UsageError: the map is not held.
            UserError: as `draw`.
        """
        picture = heat_map(self.image, self.held_map()[0])
        if path is not None:
            write_image(Path(path), picture)
        return picture

    def record(self) -> PageRecord:
        """The page as `to_dict` has it."""
        rows = zip(self.polygons, self.scores.tolist(), strict=True)
        return PageRecord(
            image=self.source,
            page=self.number,
            width=self.size[0],
            height=self.size[1],
            regions=tuple(
                Region(polygon=_rounded(polygon), score=round(score, 6)) for polygon, score in rows
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data: image, page, width, height and regions of polygon and score."""
        return to_json(self.record())

    def to_json(self) -> str:
        """`to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(), allow_nan=False)


def _no_map() -> UsageError:
    return UsageError(
        "no-map",
        "The probability map of this page is not held any more",
        expected="a page of `detector(picture)` or of `detector.stream(pictures)`",
        hint="Lists of pages let go of their maps: take `detector.stream`.",
    )


def _rounded(polygon: Polygon) -> tuple[tuple[float, float], ...]:
    return tuple((round(x, _DECIMALS), round(y, _DECIMALS)) for x, y in polygon.tolist())
