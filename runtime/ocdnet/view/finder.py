"""A detector that looks at one picture after the other, as they are asked for."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ocdnet.actions.explaining import examined
from ocdnet.data.annotations import Annotation
from ocdnet.detector import Detector
from ocdnet.errors import RunError
from ocdnet.page import Page
from ocdnet.view.model import Model
from ocdnet.view.sets import PictureSet
from ocdnet.view.shapes import Details, Shape
from ocdnet.visualize import probability_image

_KEPT = 32
"""Pictures whose regions and map are held: about 100 kB each."""


@dataclass(frozen=True)
class Found:
    """What a model makes of a picture.

    Attributes:
        details: its labels and regions, told apart where there are labels; None: what the set
            says of it stands.
        map_png: the probability map as colours that are clear where it is 0, as a PNG file.
    """

    details: Details | None
    map_png: bytes


class Finder:
    """Looks at pictures with a model, one at a time.

    Args:
        pictures: that it may be asked for.
        model: not open yet.

    Attributes:
        model: as above.
    """

    def __init__(self, pictures: PictureSet, model: Model) -> None:
        self._pictures, self.model = pictures, model
        self._detector: Detector | None = None
        self._found: OrderedDict[int, Found] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def ready(self) -> bool:
        """Whether it may be asked: the model is open, or will be when it is."""
        return self._detector is not None or not self.model.at_once

    def load(self) -> None:
        """Open the model.

        Raises:
            UserError: it can't be.
        """
        self._detector = self.model.opens()

    def find(self, number: int) -> Found:
        """What the model makes of a picture; from any thread.

        Raises:
            UserError: the picture can't be read, or the model can't be opened, or is not yet.
        """
        if not self.ready:
            raise RunError("loading", "The model is being loaded", hint="Try again in a second.")
        with self._lock:
            if number not in self._found:
                self._detector = self._detector or self.model.opens()
                self._found[number] = self._look(self._detector, number)
                if len(self._found) > _KEPT:
                    self._found.popitem(last=False)
            self._found.move_to_end(number)
            return self._found[number]

    def _look(self, detector: Detector, number: int) -> Found:
        page = detector(self._pictures.file(number))
        map_png = _coloured(page.held_map()[0])
        if self._pictures.predicted:
            return Found(None, map_png)
        known = self._pictures.details(number)
        if known.labels is None:
            rows = zip(page.polygons, page.scores.tolist(), strict=True)
            regions = [Shape(polygon.ravel().tolist(), "region", score=s) for polygon, s in rows]
            return Found(Details(None, regions, known.doubts, known.error), map_png)
        return Found(_compared(page, known, detector), map_png)


def _compared(page: Page, known: Details, detector: Detector) -> Details:
    """Labels and regions of a picture, each with what it is, as an evaluation tells them apart."""
    labels = known.labels or []
    annotation = Annotation(
        Path(),
        Path(),
        [np.array(label.polygon, np.float32).reshape(-1, 2) for label in labels],
        np.array([label.role == "ignored" for label in labels], np.bool_),
        [label.text for label in labels],
    )
    seen = examined(annotation, *page.held_map(), detector.postprocess)
    row = json.loads(seen.line)
    texts = [annotation.texts[gt] for gt in seen.overlaps.gts]
    return Details(
        [Shape(**one, text=text) for one, text in zip(row["labels"], texts, strict=False)],
        [Shape(**one) for one in row["regions"]],
        known.doubts,
    )


def _coloured(probability: NDArray[np.float32]) -> bytes:
    grey = probability_image(probability)
    colours = cv2.applyColorMap(grey, cv2.COLORMAP_CIVIDIS)  # even, and the same for every eye
    _, data = cv2.imencode(".png", cv2.merge([*cv2.split(colours), grey]))
    return data.tobytes()
