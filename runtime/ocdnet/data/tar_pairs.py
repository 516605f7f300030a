"""A data path of tar files in WebDataset's form: KEY.jpg beside KEY.txt, which holds its labels.

Only headers are read to list them. A member's path says where its bytes are (`files.member_path`),
so that any sample can be read at any time: order, randomness and resuming are as with a folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ocdnet.data.archive_members import opened, tar_members
from ocdnet.data.doubts import Doubts
from ocdnet.data.faults import collect
from ocdnet.data.folders import natural_key
from ocdnet.data.layout import is_image
from ocdnet.errors import DataError, printable
from ocdnet.files import member_path

_LABEL = ".txt"


def pairs_of_tars(
    folder: Path, names: list[str], key: str, errors: list[DataError] | None = None
) -> list[tuple[str, str]]:
    """Image and label of each sample: tar files in natural order, samples in that of the file.

    Members of other kinds, as KEY.json, are passed over.

    Args:
        folder: of the tar files.
        names: theirs.
        key: spec key of the path, for what is noted.
        errors: takes those of single files and samples, which are left out; None: they are raised.

    Raises:
        DataError: a tar file is damaged; an image has no label, or its key is another's.
    """
    tars = [folder / name for name in sorted(names, key=natural_key)]
    doubts = Doubts()
    listed = collect(lambda tar: list(_samples(tar, doubts)), tars, errors)
    pairs = collect(_pair, (sample for samples in listed for sample in samples), errors)
    doubts.note(key)
    return pairs


Sample = tuple[str, str, bool]
"""Paths of image and label (empty: there is none), and whether another sample has its key."""


def _samples(tar: Path, doubts: Doubts) -> Iterator[Sample]:
    """The samples of a tar file, in the order of their images."""
    images: list[tuple[str, str]] = []
    labels: dict[str, str] = {}
    with opened(tar) as file:
        for member in tar_members(file, tar):
            path = PurePosixPath(member.name)
            if member.is_folder or path.name.startswith("."):
                continue
            if printable(member.name) != member.name:
                raise DataError("not-utf8-name", f"{tar} holds a name that is not UTF-8")
            # WebDataset's rule: a key ends at the first dot of the name.
            stem = str(path.with_name(path.name.partition(".")[0]))
            here = member_path(tar, member.offset, member.size, path.name)
            if path.name.endswith(_LABEL):
                labels[stem] = here
            elif is_image(path.name):
                images.append((stem, here))
    seen: set[str] = set()
    for stem, image in images:
        yield image, labels.get(stem, ""), stem in seen
        seen.add(stem)
    for stem in sorted(labels.keys() - seen):
        doubts.add("unused-label", labels[stem])


def _pair(sample: Sample) -> tuple[str, str]:
    image, label, again = sample
    if again:
        raise DataError(
            "same-key",
            f"Two images of one key: {image} is the second",
            expected="keys (names up to their first dot) that no two samples of a tar file share",
            hint="Write the tar files again, a key a sample.",
        )
    if not label:
        raise DataError(
            "missing-label",
            f"The image {image} has no label file",
            expected="KEY.txt in the same tar file, lines as in gt/",
            hint="Only an image without text has an empty one. An archive of img/ and gt/ is to be"
            " unpacked: `ocdnet data extract`.",
        )
    return image, label
