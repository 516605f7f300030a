"""Unpacking a dataset's archive safely: whole or not at all, and only below the folder named.

An archive may come from anyone. A member is refused whose name leads elsewhere or that is neither
a file nor a folder. What the archive says of itself is not believed: bytes are counted while they
are read, equal names collide on disk, permissions are not carried over, and the end must be there.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

from ocdnet.data.archive_members import (
    CHUNK,
    GIB,
    Limits,
    Member,
    Progress,
    damaged,
    members,
    opened,
    reading,
    refused,
    too_large,
)
from ocdnet.data.layout import count_images, is_data_path, is_split
from ocdnet.data.new_folder import new_folder
from ocdnet.data.safe_names import safe_parts
from ocdnet.errors import DataError

_FILES = 2_000_000
"""Twice the images and labels of the largest public set."""

_RATIO = 100
"""Times that images and labels grow at most; bombs grow by 1,000 and more."""
_FREE_SHARE = 0.95
_JUNK = re.compile(r"__MACOSX|\._.*|\.DS_Store", re.DOTALL)


def extract(
    archive: Path,
    out: Path,
    *,
    max_gb: float | None = None,
    max_files: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Unpack a zip, tar, tar.gz, tar.bz2 or tar.xz file into a new folder.

    Its content says which of these it is, not its name.
    Everything is unpacked beside `out` and renamed into place, so `out` is whole or absent. Then,
    as long as a folder is the only thing at the top, it is left out: `train/img` and `train/gt`
    become `out/img` and `out/gt`, and an archive of images alone has them in `out`. What macOS
    adds (`__MACOSX`, `._*`, `.DS_Store`) is left out. Permissions and dates are not kept.

    Args:
        archive: the file.
        out: folder to make; absent or empty.
        max_gb: GiB that it may grow to, instead of 100 times its own size (1 GiB at least). The
            disk's free space is a limit in any case.
        max_files: files and folders that it may hold, instead of 2 million.
        progress: called with (per cent done, 100).

    Returns:
        JSON-ready: `out`, `files`, `bytes`, `data_path` (`out` where it holds img/ and gt/, or tar
        files, else None) and `images`, the number of them in `out`, or in `out/img` beside gt/.

    Raises:
        UsageError: `out` is not absent or empty.
        DataError: the archive is absent, damaged, encrypted, too large or of another kind, or a
            member is unsafe.
        RunError, EnvironmentFault: the disk is full, or the folder can't be written.
    """
    with new_folder(out) as new, opened(archive) as file:
        limits = _limits(file, new.scratch, max_gb, max_files or _FILES)
        writer = _Writer(new.scratch / "set", archive, limits)
        for member in members(file, archive, limits, _percents(progress)):
            writer.add(member)
        if not writer.files:
            raise DataError("empty-archive", f"{archive} holds no file", expected="images")
        new.take(_below_common_folders(writer.root))
    target = new.target
    data_path = str(out) if is_data_path(target) else None
    return {
        "out": str(out),
        "files": writer.files,
        "bytes": writer.size,
        "data_path": data_path,
        "images": count_images(target / "img" if is_split(target) else target),
    }


def _limits(file: IO[bytes], scratch: Path, max_gb: float | None, max_files: int) -> Limits:
    packed = os.fstat(file.fileno()).st_size
    size, reason = max(GIB, packed * _RATIO), f"{_RATIO} times its size, 1 GiB at least"
    if max_gb is not None:
        size, reason = int(max_gb * GIB), "--max-gb"
    free = int(shutil.disk_usage(scratch).free * _FREE_SHARE)
    if free < size:
        size, reason = free, "the free space where it is to be unpacked"
    return Limits(size, reason, max_files)


def _percents(progress: Progress | None) -> Progress:
    """A callback (bytes done, bytes in all) that passes each per cent on, once."""
    percent = 0

    def pass_on(done: int, total: int) -> None:
        nonlocal percent
        while progress is not None and percent * total < min(done, total) * 100:
            percent += 1
            progress(percent, 100)

    return pass_on


class _Writer:
    """Writes members below a new folder, and counts them."""

    def __init__(self, root: Path, archive: Path, limits: Limits) -> None:
        self.root, self._archive, self._limits = root, archive, limits
        self.files = self.size = self._seen = 0
        root.mkdir()

    def add(self, member: Member) -> None:
        """Write one member; junk is passed over."""
        self._seen += 1
        if self._seen > self._limits.members:
            raise DataError(
                "archive-too-large",
                f"{self._archive} holds too many files and folders",
                expected=f"at most {self._limits.members}",
                hint="If you trust the archive, allow more with --max-files.",
            )
        parts = safe_parts(member.name, partial(refused, member.name, self._archive))
        if any(map(_JUNK.fullmatch, parts)) or (member.is_folder and not parts):
            return
        if not parts:
            raise refused(member.name, self._archive, "has no name")
        path = self.root.joinpath(*parts)
        try:
            self._make(member, path)
        except (FileExistsError, NotADirectoryError) as error:
            raise refused(member.name, self._archive, "has the name of another") from error

    def _make(self, member: Member, path: Path) -> None:
        if member.is_folder:
            path.mkdir(parents=True, exist_ok=True)
            return
        if self.size + member.size > self._limits.size:
            raise too_large(self._archive, self._limits)
        path.parent.mkdir(parents=True, exist_ok=True)
        written = 0
        with path.open("xb") as target:
            for chunk in _chunks(member, self._archive):
                written += target.write(chunk)
        if written != member.size:
            raise damaged(self._archive, f"{member.name[:120]!r} is cut short")
        self.files, self.size = self.files + 1, self.size + written


def _chunks(member: Member, archive: Path) -> Iterator[bytes]:
    with reading(archive), member.open() as source:
        while chunk := source.read(CHUNK):
            yield chunk


def _below_common_folders(root: Path) -> Path:
    """The first folder on the way down that is not alone in its parent."""
    while True:
        entries = list(islice(root.iterdir(), 2))
        if len(entries) != 1 or not entries[0].is_dir():
            return root
        root = entries[0]
