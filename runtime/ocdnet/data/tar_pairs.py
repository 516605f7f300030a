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
from ocdnet.findings import note

_LABEL = ".txt"


def pairs_of_tars(
    folder: Path, names: list[str], key: str, errors: list[DataError] | None = None
) -> list[tuple[str, str]]:
    """Image and label of each sample: tar files in natural order, samples in that of the file.

    Members of other kinds, as KEY.json or KEY.seg.png, are passed over.

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
    listed = collect(lambda tar: list(_samples(tar, doubts, key)), tars, errors)
    pairs = collect(_pair, (sample for samples in listed for sample in samples), errors)
    doubts.note(key)
    return pairs


Sample = tuple[str, str, bool]
"""Paths of image and label (empty: there is none), and whether another file has its key."""


def _samples(tar: Path, doubts: Doubts, at: str) -> Iterator[Sample]:
    """The samples of a tar file, in the order of their images.

    WebDataset's rule: a key ends at the first dot of the name. KEY.seg.png is no image beside
    KEY.png, but KEY.v1.png is one alone; its label is KEY.v1.txt or KEY.txt.
    """
    images: dict[str, list[tuple[str, str]]] = {}
    labels: dict[str, list[str]] = {}
    for path, here in _files(tar):
        stem = str(path.with_name(path.name.rpartition(".")[0]))
        if path.name.endswith(_LABEL):
            labels.setdefault(stem, []).append(here)
        elif is_image(path.name):
            images.setdefault(_key(path), []).append((stem, here))
    for key, found in images.items():
        plain = [one for one in found if one[0] == key]
        for number, (stem, image) in enumerate(plain or found):
            of_image = labels.get(stem) or labels.get(key) or [""]
            yield image, of_image[0], number > 0
            yield from ((label, "", True) for label in of_image[1:])
    if not images:
        note("empty-tar", "Tar files hold no image", file=tar, key=at)
    for stem in sorted(labels):
        if _key(PurePosixPath(stem)) not in images:
            doubts.add("unused-label", labels[stem][0])


def _key(path: PurePosixPath) -> str:
    return str(path.with_name(path.name.partition(".")[0]))


def _files(tar: Path) -> Iterator[tuple[PurePosixPath, str]]:
    """Names of a tar file's members that are not hidden, and the paths to read them by."""
    try:
        with opened(tar) as file:
            for member in tar_members(file, tar):
                path = PurePosixPath(member.name)
                if member.is_folder or path.name.startswith("."):
                    continue
                if printable(member.name) != member.name:
                    raise DataError("not-utf8-name", f"{tar} holds a name that is not UTF-8")
                yield path, member_path(tar, member.offset, member.size, path.name)
    except DataError as error:  # hints of unpacking do not lead on here
        if error.code == "unsafe-member":
            error.message = error.message.replace("is not unpacked", "can't be read in place")
            error.hint = "Write it again without links: tar --hard-dereference -chf NEW.tar ..."
        elif error.code == "not-an-archive":
            error.hint = "A tar file of samples is plain: gunzip or unxz a compressed one."
        raise


def _pair(sample: Sample) -> tuple[str, str]:
    image, label, again = sample
    if again:
        raise DataError(
            "same-key",
            f"Two images or two labels of one key: {image} is the second",
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
