"""Lists of checksums, as `sha256sum` and its like write them, and the check of files by them."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from ocdnet.errors import DataError

_KINDS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
"""Kinds of digests by their length in hexadecimal."""
_KIND = "(md5|sha1|sha256|sha512)"
_LIST = re.compile(
    rf"({_KIND}(sums?)?(\.txt)?|checksums?(\.txt)?|.*\.{_KIND}(sums?)?)", re.IGNORECASE
)
_LINE = re.compile(r"\\?(?P<digest>[0-9a-fA-F]+)(?:[ \t]+\*?(?P<path>.+))?")
_TAGGED = re.compile(rf"{_KIND} ?\((?P<path>.+)\) ?= ?(?P<digest>[0-9a-fA-F]+)", re.IGNORECASE)
_LONGEST = 1 << 28


def is_list(name: str) -> bool:
    """Whether a file is a list of sums, by its name: SHA256SUMS, words.tar.gz.sha256 and the like.

    Args:
        name: its path in the store.
    """
    return _LIST.fullmatch(posixpath.basename(name)) is not None


def sums(text: str, name: str) -> Iterator[tuple[str, str]]:
    """Path and digest of each line of a list; lines of another form say nothing.

    Args:
        text: the list.
        name: its own path, beside which the files lie; a line without a name is of `name` without
            its suffix.
    """
    folder = posixpath.dirname(name)
    for line in text.splitlines():
        match = _LINE.fullmatch(line.strip()) or _TAGGED.fullmatch(line.strip())
        if match and len(match["digest"]) in _KINDS:
            own = posixpath.basename(name).rpartition(".")[0]
            path = posixpath.normpath(posixpath.join(folder, match["path"] or own))
            yield path, match["digest"].lower()


def sums_of(file: Path, name: str) -> dict[str, str]:
    """Those of a list in a file; raises DataError where it is longer than any such list."""
    if file.stat().st_size > _LONGEST:
        raise DataError("bad-checksums", f"{name} is too long for a list of checksums")
    return dict(sums(file.read_text("utf-8-sig", errors="replace"), name))


def differs(file: Path, expected: str) -> str:
    """A file's digest where it is another one than expected, else nothing.

    Args:
        file: it.
        expected: in hexadecimal; its length tells of which kind.
    """
    kind = _KINDS[len(expected)]
    with file.open("rb") as opened:
        found = hashlib.file_digest(
            opened, lambda: hashlib.new(kind, usedforsecurity=False)
        ).hexdigest()
    return "" if found == expected else found
