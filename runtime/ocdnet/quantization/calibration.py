"""Calibration images, read as inference reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ocdnet.data.folders import list_images
from ocdnet.data.layout import IMAGE_SUFFIXES, is_archive
from ocdnet.data.preprocess import Preprocess
from ocdnet.data.reading import read_image
from ocdnet.errors import DataError
from ocdnet.files import is_folder
from ocdnet.progress_bar import tracked


def calibration_images(folders: Sequence[Path], at_most: int) -> list[Path]:
    """Images of some folders, in their order; where there are more than `at_most`, evenly spaced.

    Not the first ones: photographs that follow each other are often of one place. Subfolders are
    not searched.

    Raises:
        DataError: a folder is absent, an archive, or holds no images.
    """
    images: list[Path] = []
    for folder in folders:
        if not is_folder(folder):
            raise DataError(
                "no-such-folder",
                f"The calibration images are to be in {folder}, which is no folder",
                got="an archive" if is_archive(folder.name) else str(folder),
                expected="a folder of images",
                hint="Unpack an archive with `ocdnet data extract`, and give the folder.",
            )
        of_folder = list_images(folder)
        if not of_folder:
            raise DataError(
                "no-images",
                f"There are no calibration images in {folder}",
                expected=f"images ({' '.join(sorted(IMAGE_SUFFIXES))})",
                hint="Subfolders are not searched: give the folder that holds the images.",
            )
        images += of_folder
    number = min(at_most, len(images))
    return [images[place * len(images) // number] for place in range(number)]


def calibration_batches(
    images: Sequence[Path], preprocess: Preprocess, batch_size: int
) -> Iterator[NDArray[np.float32]]:
    """Images as batches of the network's input, float32[B, 3, h, w]; progress goes to stderr.

    Args:
        images: files.
        preprocess: the network's.
        batch_size: images a batch; the last may have fewer.

    Raises:
        DataError: an image that cannot be read.
    """
    starts = range(0, len(images), batch_size)
    for start in tracked(starts, "calibrating", len(starts)):
        paths = images[start : start + batch_size]
        prepared = [preprocess.prepare(read_image(path, preprocess.img_mode)) for path in paths]
        yield preprocess.to_tensor([one.image for one in prepared])
