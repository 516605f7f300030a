"""What data looks like on disk, by names and first bytes alone: light enough for a plan."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from shlex import quote

from ocdnet.files import ARCHIVES

IMAGE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".apng",
        ".bmp",
        ".dib",
        ".webp",
        ".tif",
        ".tiff",
        ".gif",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".jp2",
        ".avif",
        ".heic",
        ".heif",
    ]
)
"""Suffixes of the images that are read, in lower case; `HEIC` with a package of its own."""

HEIC = frozenset({".heic", ".heif"})
PDF = ".pdf"

LABEL_NAMES = ("gt_{}.txt", "{}.txt", "truth_{}.txt", "poly_gt_{}.txt")
"""Names of an image's label file, by its stem: ICDAR2015's, the plain one, Uber-Text's,
Total-Text's. The first that exists is read."""

HEAD_BYTES = 264
"""How much of a file `is_archive` looks at."""

_MOST = 1000
"""Entries of a folder of sets that are looked at."""

_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
_FOREIGN_MAGIC = (b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd")
_FOREIGN = (".7z", ".rar", ".zst")


def is_image(name: str) -> bool:
    """Whether a file of this name is read as an image; hidden files are not."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 (a tenth of Path's time)


def is_picture(name: str) -> bool:
    """Whether a file of this name is read where text is to be found: images, and documents."""
    return is_image(name) or (name.lower().endswith(PDF) and not name.startswith("."))


def is_archive(name: str, head: bytes = b"") -> bool:
    """Whether a file is an archive, by its name or its first `HEAD_BYTES` bytes."""
    known = head.startswith(_MAGIC + _FOREIGN_MAGIC) or head[257:262] == b"ustar"
    return known or name.lower().endswith(ARCHIVES)


def is_foreign_archive(name: str, head: bytes = b"") -> bool:
    """Whether it is an archive of a kind that `ocdnet data extract` does not unpack."""
    return head.startswith(_FOREIGN_MAGIC) or (not head and name.lower().endswith(_FOREIGN))


def archive_stem(name: str) -> str:
    """An archive's file name without its suffixes: `train` of `train.tar.gz`.

    A name that has no such suffix, or is nothing else, stays as it is.
    """
    stem = name
    for suffixes in (ARCHIVES, (".tar",)):
        for suffix in suffixes:
            if stem.lower().endswith(suffix):
                stem = stem[: -len(suffix)]
                break
    return stem or name


def file_names(folder: Path) -> Iterator[str]:
    """Names of the files in a folder, not in its subfolders, in the file system's order.

    Also of what only looks like one, as pipes and links to nothing: opening it will tell.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if not is_directory(entry):
                yield entry.name


def is_directory(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder; links that lead round in a circle are none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def count_images(folder: Path, limit: int | None = None, documents: bool = False) -> int:
    """Number of images in a folder, not in its subfolders, among its first `limit` files.

    Args:
        folder: it.
        limit: as above.
        documents: PDF files count, too.
    """
    names = islice(file_names(folder), limit)
    wanted = is_picture if documents else is_image
    return sum(map(wanted, names))


TRAIN_PARTS = ("train", "training")
HELD_OUT_PARTS = ("val", "validation", "valid", "test", "testing", "eval")
"""Names of the split folders of a set, the first before the others."""


def part_of(folder: Path, names: Sequence[str]) -> Path | None:
    """The first split folder of a name, in any case, in a set's folder; None without one."""
    try:
        with os.scandir(folder) as entries:
            here = {entry.name.lower(): Path(entry.path) for entry in islice(entries, _MOST)}
    except OSError:
        return None
    found = (here[name] for name in names if name in here)
    return next((path for path in found if is_split(path)), None)


def is_split(folder: Path) -> bool:
    """Whether a folder holds img/ and gt/."""
    return (folder / "img").is_dir() and (folder / "gt").is_dir()


def is_data_path(folder: Path) -> bool:
    """Whether a folder can be a data path by its form: a split folder, or one of tar files."""
    return is_split(folder) or bool(tars_of(folder))


def tars_of(folder: Path) -> list[str]:
    """Names of the plain tar files that a data path of tars holds; none of a split folder."""
    names = () if is_split(folder) else file_names(folder)
    return [name for name in names if name.lower().endswith(".tar") and not name.startswith(".")]


def inside_hint(folder: Path) -> str | None:
    """What to do with a folder that is no data path by what lies in it; None: nothing helps."""
    try:
        with os.scandir(folder) as entries:
            folders = [Path(entry.path) for entry in islice(entries, _MOST) if is_directory(entry)]
        paths = sorted(str(inner) for inner in folders[:50] if is_data_path(inner))
    except OSError:
        return None
    if paths:
        return f"Did you mean {' or '.join(paths[:4])}?"
    packed = next((name for name in file_names(folder) if is_archive(name)), None)
    return packed and (
        f"It holds {packed}. Tar files of samples are read where they are not compressed (gunzip"
        " or unxz them); an archive of img/ and gt/ is to be unpacked: `ocdnet data extract`."
    )


def fetch_hint(given: object) -> str | None:
    """What to do with a URI in place of a path; None where it is none."""
    return (
        f"Fetch it first: ocdnet data fetch {quote(str(given))} --out FOLDER"
        if "://" in str(given)
        else None
    )
