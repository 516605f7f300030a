"""What the results of an image are called: no two alike, none too long for a file system."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ocdnet import findings
from ocdnet.data.reading import FilePage

_MOST_BYTES = 230
"""Of a name: `_result.jpg`, and what a file that is being written has around it, fit behind it."""
_KEPT_BYTES = 190


def result_names(pages: Sequence[FilePage], root: Path) -> dict[FilePage, Path]:
    """Of each image the path of its results below the results folder, without a suffix.

    It is the image's path below `root` without its suffix; with it where others would be named
    alike. Pages have their number behind it, from 1. Long names end in a digest instead, and are
    noted.
    """
    short = [_named(page, page.path.stem, root) for page in pages]
    whole = [_named(page, page.path.name, root) for page in pages]
    names = short
    # A whole name may be another's short one: x.jpg of x.jpg, beside x.png, and of x.jpg.png.
    while clashes := {name for name, number in Counter(names).items() if number > 1}:
        names = [w if n in clashes else n for n, w in zip(names, whole, strict=True)]
    return {
        page: name.with_name(_shortened(name.name, page.path))
        for page, name in zip(pages, names, strict=True)
    }


def _named(page: FilePage, name: str, root: Path) -> Path:
    number = "" if page.number is None else f"_p{page.number + 1}"
    return page.path.parent.relative_to(root) / f"{name}{number}"


def _shortened(name: str, image: Path) -> str:
    raw = os.fsencode(name)
    if len(raw) <= _MOST_BYTES:
        return name
    message = "Long names were shortened: those of the results end in a digest"
    findings.note("long-name", message, file=image, once=True)
    start = raw[:_KEPT_BYTES].decode("utf-8", "ignore")
    return f"{start}-{hashlib.sha256(raw).hexdigest()[:16]}"
