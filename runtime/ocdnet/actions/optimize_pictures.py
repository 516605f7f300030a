"""The pictures that candidates are timed, compared and calibrated on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ocdnet.config.dataset import DatasetArgs
from ocdnet.data.annotations import Annotation, index_dataset
from ocdnet.data.folders import list_images
from ocdnet.data.layout import IMAGE_SUFFIXES, is_split
from ocdnet.data.reading import read_image
from ocdnet.errors import DataError
from ocdnet.files import is_folder, link
from ocdnet.findings import note

T = TypeVar("T")
MOST = 48
"""Pictures that are used, evenly spaced: more take time and change little."""
_APART = 9
"""Pictures from which a third is kept for calibration alone."""


@dataclass(frozen=True)
class Pictures:
    """What is used of the user's pictures.

    Attributes:
        timed: to time and compare candidates on.
        calibration: for INT8.
        labels: of the timed ones, by their file; empty: there are none.
    """

    timed: list[Path]
    calibration: list[Path]
    labels: dict[Path, Annotation] = field(default_factory=dict)


def chosen_pictures(source: Path) -> Pictures:
    """At most 48 pictures of a folder, of one with img/ and gt/, or of a datalist.

    Raises:
        DataError: there is no such folder or file, no picture in it, none that can be read, or its
            labels are bad.
    """
    labels: dict[Path, Annotation] = {}
    if source.is_file() or is_split(source):
        found = index_dataset([source], DatasetArgs().ignore_tags, key="")
        chosen = _spaced(range(len(found)), MOST)
        labels = {found[at].image: found[at] for at in chosen}
        images = list(labels)
    else:
        images = _spaced(_listed(source), MOST)
    readable = _readable(images)
    apart = len(readable) >= _APART
    calibration = readable[::3] if apart else readable
    if not apart:
        note(
            "calibrated-on-the-compared",
            f"With fewer than {_APART} pictures INT8 is calibrated on those that it is compared "
            "on, which flatters it",
            count=len(readable),
        )
    timed = [image for at, image in enumerate(readable) if at % 3 or not apart]
    return Pictures(timed, calibration, {image: labels[image] for image in timed if labels})


def linked(images: Sequence[Path], folder: Path) -> Path:
    """A new folder of links to pictures, as calibration takes them."""
    folder.mkdir()
    for number, image in enumerate(images):
        link(folder / f"{number:03}{image.suffix}", image.absolute())
    return folder


def _listed(folder: Path) -> list[Path]:
    if not is_folder(folder):
        raise DataError(
            "no-such-folder",
            f"There is no folder or datalist {folder}",
            got=str(folder),
            expected="a folder of pictures, one with img/ and gt/, or a datalist",
        )
    images = list_images(folder)
    if not images:
        raise DataError(
            "no-images",
            f"There are no pictures in {folder}",
            expected=f"images ({' '.join(sorted(IMAGE_SUFFIXES))})",
            hint="Sub-folders are not searched: give the folder that holds the pictures.",
        )
    return images


def _readable(images: Sequence[Path]) -> list[Path]:
    """Those that can be read; the others are noted."""
    good, last = [], None
    for image in images:
        try:
            read_image(image)
            good.append(image)
        except DataError as error:
            note("left-out", "Pictures that can't be read were left out", file=image)
            last = error
    if last is not None and not good:
        raise last
    return good


def _spaced(items: Sequence[T], most: int) -> list[T]:
    number = min(most, len(items))
    return [items[at * len(items) // number] for at in range(number)]
