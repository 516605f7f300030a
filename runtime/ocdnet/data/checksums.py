"""Lists of SHA-256 sums, as `sha256sum` writes them, and the check of files against them."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from ocdnet.errors import DataError

_LIST = re.compile(r"(sha256sums?(\.txt)?|checksums?\.txt|.*\.sha256(sums?)?)", re.IGNORECASE)
_LINE = re.compile(r"\\?([0-9a-fA-F]{64})(?:[ \t]+\*?(.+))?")
_LONGEST = 1 << 28


def is_list(name: str) -> bool:
    """Whether a file is a list of sums, by its name: SHA256SUMS, words.tar.gz.sha256 and the like.

    Args:
        name: its path in the store.
    """
    return _LIST.fullmatch(posixpath.basename(name)) is not None


def sums(text: str, name: str) -> Iterator[tuple[str, str]]:
    """Path and SHA-256 of each line of a list; lines of another form say nothing.

    Args:
        text: the list.
        name: its own path, beside which the files lie; a line without a name is of `name` without
            its suffix.
    """
    folder = posixpath.dirname(name)
    for line in text.splitlines():
        if match := _LINE.fullmatch(line.strip()):
            own = posixpath.basename(name).rpartition(".")[0]
            path = posixpath.normpath(posixpath.join(folder, match[2] or own))
            yield path, match[1].lower()


def sums_of(file: Path, name: str) -> dict[str, str]:
    """Those of a list in a file; raises DataError where it is longer than any such list."""
    if file.stat().st_size > _LONGEST:
        raise DataError("bad-checksums", f"{name} is too long for a list of checksums")
    return dict(sums(file.read_text("utf-8", errors="replace"), name))


def differs(file: Path, kind: str, expected: str) -> str:
    """A file's digest where it is another one than expected, else nothing.

    Args:
        file: it.
        kind: `sha256` or `md5`.
        expected: in hexadecimal.
    """
    with file.open("rb") as opened:
        found = hashlib.file_digest(
            opened, lambda: hashlib.new(kind, usedforsecurity=False)
        ).hexdigest()
    return "" if found == expected else found
