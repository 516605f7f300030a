"""Names of files from elsewhere, as paths below a folder of ours."""

from __future__ import annotations

import re
from collections.abc import Callable

from ocdnet.errors import UserError

_LONGEST, _DEEPEST = 1024, 64
_NOT_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and what Python makes of bytes that are not UTF-8."""
_DRIVE = re.compile(r"[A-Za-z]:")


def safe_parts(name: str, refused: Callable[[str], UserError]) -> list[str]:
    """The names on a file's way below the folder; none for the folder itself.

    Args:
        name: the relative path that an archive or a store gives.
        refused: makes the error of what is wrong with it, as in `has an absolute path`.

    Raises:
        UserError: what `refused` made: it leads elsewhere, or no folder can hold it.
    """
    if _NOT_TEXT.search(name):
        raise refused("has a name that is not UTF-8 text")
    if "\\" in name or name.startswith("/") or _DRIVE.match(name):
        raise refused("has an absolute path, or one of Windows")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise refused("leads out of the folder")
    sizes = [len(part.encode()) for part in parts]
    if max(sizes, default=0) > 255 or sum(sizes) > _LONGEST or len(parts) > _DEEPEST:
        raise refused("has a path that is too long")
    return parts
