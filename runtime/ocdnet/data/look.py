"""A fast look at a set's labels, for a plan: the first files of each split folder."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ocdnet.data.labels import instances
from ocdnet.data.layout import LABEL_NAMES, file_names, is_image, is_split
from ocdnet.errors import DataError

LOOKED_AT = 200
"""Label files, and images, that are looked at."""
_LISTED = 200_000
_TOLD = 3


def doubts(split: Path) -> list[str]:
    """What a reader of a split folder's labels would stumble over, a sentence each.

    Lines that can't be read name file and line; of many the first are told, and their number.
    """
    if not is_split(split):
        return []
    names = sorted(islice(file_names(split / "gt"), _LISTED))
    labels = [name for name in names if name.lower().endswith(".txt")]
    faults = list(_unreadable(split / "gt", labels))
    images = sorted(filter(is_image, islice(file_names(split / "img"), _LISTED)))[:LOOKED_AT]
    there = set(labels)
    alone = [name for name in images if not there.intersection(_labels_of(name))]
    found = faults[:_TOLD]
    if len(faults) > _TOLD:
        found.append(
            f"{len(faults)} of the first {min(len(labels), LOOKED_AT)} label files of {split}/gt "
            "can't be read."
        )
    if alone:
        found.append(
            f"{len(alone)} of the first {len(images)} images of {split}/img have no label file, "
            f"e.g. {alone[0]}: one without text needs an empty one."
        )
    return found


def _unreadable(folder: Path, labels: list[str]) -> Iterator[str]:
    for name in labels[:LOOKED_AT]:
        try:
            for _ in instances(folder / name):
                pass
        except DataError as error:
            yield f"{error.message}. Training and evaluation stop there."


def _labels_of(image: str) -> set[str]:
    stem = image.rpartition(".")[0]
    return {pattern.format(stem) for pattern in LABEL_NAMES}
