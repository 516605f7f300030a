"""The model that looks at pictures: the one that is given, or that an evaluation scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ocdnet.actions.detection import scored_detector
from ocdnet.config import spec
from ocdnet.detector import Detector
from ocdnet.errors import UserError
from ocdnet.runs.files import EXPERIMENT, is_file
from ocdnet.view.records import Evaluated
from ocdnet.view.sets import PictureSet


@dataclass(frozen=True)
class Model:
    """A model that is not open yet.

    Attributes:
        name: that the page shows.
        opens: makes the detector.
        at_once: whether it is opened as the viewer starts; else when it is needed first.
    """

    name: str
    opens: Callable[[], Detector]
    at_once: bool = True


def given_model(model: str) -> Model:
    """The model of a file, or of public weights by their name."""
    return Model(Path(model).name, lambda: Detector(model))


def scored_model(pictures: PictureSet) -> Model | None:
    """The checkpoint or ONNX file that an evaluation scored, as it was run; None where it's gone.

    It is opened when a map is asked for: most people look at outlines alone.
    """
    if not isinstance(pictures, Evaluated):
        return None
    try:
        loaded = spec.load("evaluate", pictures.folder / EXPERIMENT)
    except (UserError, OSError):
        return None
    section = loaded.experiment.evaluate
    # An engine is opened by its maker's library: not because a folder that is looked at says so.
    if section.trt_engine or not is_file(Path(section.checkpoint)):
        return None
    return Model(Path(section.checkpoint).name, lambda: scored_detector(loaded), at_once=False)
