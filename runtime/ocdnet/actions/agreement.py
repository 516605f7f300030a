"""Whether an INT8 network finds the text that its float network finds, on calibration images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ocdnet.backends.base import Predictor
from ocdnet.backends.maps import check_map
from ocdnet.data.preprocess import Preprocess
from ocdnet.data.reading import read_image
from ocdnet.errors import RunError
from ocdnet.findings import note
from ocdnet.metrics import Counts, match_image
from ocdnet.postprocess import DBPostprocessor, Detections

_COMPARED = 4
"""Images with text that are compared: each takes two predictions."""
_ALIKE = 0.8
"""Least hmean of the INT8 network's boxes against the float network's. Good ones had 0.9 and more;
where calibration failed no box was left."""


def images_with_text(
    network: Predictor, preprocess: Preprocess, images: Sequence[Path], key: str
) -> list[Path]:
    """The first calibration images on which the float network finds text; a finding of none.

    Args:
        network: the float network.
        preprocess: how images become its input.
        images: that it is calibrated on.
        key: spec key that names them.

    Raises:
        DataError: an image that cannot be read, or a map that holds no probabilities.
    """
    found = []
    for path in images:
        if len(_detected(network, preprocess, path).polygons):
            found.append(path)
        if len(found) == _COMPARED:
            break
    if images and not found:
        note(
            "calibration-without-text",
            "The float network finds no text in the calibration images: the ranges of an INT8 "
            "network that is calibrated on them are not those of text",
            key=key,
            file=images[0],
            count=len(images),
        )
    return found


def check_agreement(
    before: Predictor, after: Predictor, preprocess: Preprocess, images: Sequence[Path], key: str
) -> None:
    """Compare what two networks find; a finding where they differ much.

    Args:
        before: the float network.
        after: the INT8 network.
        preprocess: of both.
        images: in which the float network finds text.
        key: spec key that names them.

    Raises:
        RunError: the INT8 network finds no text in any of them.
    """
    counts = Counts()
    for path in images:
        wanted, given = (_detected(network, preprocess, path) for network in (before, after))
        known = [False] * len(wanted.polygons)
        counts += match_image(given.polygons, wanted.polygons, known).counts
    if images and not counts.det_care:
        raise RunError(
            "no-parity",
            "The INT8 network finds no text where the float network does",
            got=f"0 boxes instead of {counts.gt_care} in {', '.join(map(str, images))}",
            expected="the same boxes, about",
            hint=f"Nothing was written. Calibrate on more images with text ({key}), or keep layers "
            "in float.",
        )
    if images and counts.hmean < _ALIKE:
        note(
            "other-text",
            "The INT8 network finds other text than the float network in calibration images (hmean "
            f"of its boxes against the float network's: {counts.hmean:.2f})",
            key=key,
            file=images[0],
            count=len(images),
        )


def _detected(network: Predictor, preprocess: Preprocess, path: Path) -> Detections:
    prepared = preprocess.prepare(read_image(path, preprocess.img_mode))
    (probability,) = network(preprocess.to_tensor([prepared.image]))
    check_map(probability, network, path)
    return DBPostprocessor()(prepared.frame.cut(probability), prepared.frame)
