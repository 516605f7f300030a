"""What the results of an image are called: no two alike, none too long for a file system."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ocdnet import findings
from ocdnet.data.reading import FilePage

_MOST_BYTES = 229
"""Of a name: `_heatmap.jpg`, and what a file that is being written has around it, fit behind it."""
_KEPT_BYTES = 190


def result_names(pages: Sequence[FilePage], root: Path) -> dict[FilePage, Path]:
    """Of each image the path of its results below the results folder, without a suffix.

    It is `unique_names` of the image's path below `root`.
    """
    below = [FilePage(page.path.relative_to(root), page.number) for page in pages]
    names = unique_names(below, [str(page.path) for page in pages])
    return dict(zip(pages, names, strict=True))


def unique_names(images: Sequence[FilePage], given: Sequence[str]) -> list[Path]:
    """Of each image the path of its results below a folder, without a suffix.

    It is the image's path without its suffix; with it where others would be named alike. Pages
    have their number behind it, from 1. Long names end in a digest instead, and are noted.

    Args:
        images: relative paths; each page of each once.
        given: what each is called in a note.
    """
    short = [_named(image, image.path.stem) for image in images]
    whole = [_named(image, image.path.name) for image in images]
    names = short
    # A whole name may be another's short one: x.jpg of x.jpg, beside x.png, and of x.jpg.png.
    while clashes := {name for name, number in Counter(names).items() if number > 1}:
        names = [w if n in clashes else n for n, w in zip(names, whole, strict=True)]
    return [
        name.with_name(_shortened(name.name, image))
        for image, name in zip(given, names, strict=True)
    ]


def _named(image: FilePage, name: str) -> Path:
    number = "" if image.number is None else f"_p{image.number + 1}"
    return image.path.parent / f"{name}{number}"


def _shortened(name: str, image: str) -> str:
    raw = os.fsencode(name)
    if len(raw) <= _MOST_BYTES:
        return name
    message = "Long names were shortened: those of the results end in a digest"
    findings.note("long-name", message, file=image, once=True)
    start = raw[:_KEPT_BYTES].decode("utf-8", "ignore")
    return f"{start}-{hashlib.sha256(raw).hexdigest()[:16]}"
