"""The worst and the best images with what was found in them, small enough to stand in a page."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ocdnet.data.reading import read_image
from ocdnet.errors import UserError
from ocdnet.runs.samples import Sample
from ocdnet.visualize import draw_roles, encoded, fitted

Draw: TypeAlias = Callable[[NDArray[np.uint8], float], NDArray[np.uint8]]
"""Draws on a reduced picture uint8[H, W, 3], BGR; is told the factor of its reduction."""

_LONGEST = 960
_QUALITY = 65
_COUNTED = {"missed": "missed", "false": "false alarms", "right": "right", "ignored": "ignored"}


@dataclass(frozen=True)
class Picture:
    """An image of a page.

    Attributes:
        number: of the pictures of a page.
        name: of the file.
        path: of the file.
        caption: its scores and counts.
        uri: the drawn image as a data URI; None where it can't be shown.
        why_not: why it can't.
    """

    number: int
    name: str
    path: str
    caption: str
    uri: str | None = None
    why_not: str = ""


class Album:
    """Draws pictures until a page's share of bytes is used up.

    Args:
        left: bytes that the pictures' data URIs may take in all.

    Attributes:
        gone: files that can't be read, or not any more, and why.
        left_out: pictures for which there was no room.
    """

    def __init__(self, left: int) -> None:
        self.left = left
        self.gone: dict[str, str] = {}
        self.left_out = 0
        self._taken = 0

    def pictures(self, samples: list[Sample]) -> list[Picture]:
        """The pictures of some samples, in order."""
        return [self._picture(sample) for sample in samples]

    def _picture(self, sample: Sample) -> Picture:
        counts = [f"{sample.count(role)} {text}" for role, text in _COUNTED.items()]
        caption = f"hmean {sample.hmean:.3f}: " + ", ".join(counts)

        def draw(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
            polygons = {
                role: [np.array(polygon).reshape(-1, 2) * factor for polygon in group]
                for role, group in sample.polygons.items()
            }
            return draw_roles(image, polygons, thickness=1)

        return self.picture(sample.image, caption, draw)

    def picture(self, file: str, caption: str, draw: Draw, longest: int = _LONGEST) -> Picture:
        """A file's picture with what `draw` draws on it, while there is room.

        Args:
            file: its path.
            caption: what to say of it.
            draw: draws on it.
            longest: pixels of the longer side to which it is reduced before.
        """
        path = Path(file)
        self._taken += 1
        uri, why_not = None, self.gone.get(file, "The page is full.")
        if self.left > 0 and file not in self.gone:
            try:
                uri, why_not = _uri(path, draw, longest), ""
            except (UserError, ValueError) as error:  # ValueError: a path that can't be one
                why_not = error.message if isinstance(error, UserError) else "No such image."
                self.gone[file] = why_not
        if uri is not None and len(uri) > self.left:
            uri, why_not, self.left = None, "The page is full.", 0
        self.left -= len(uri or "")
        self.left_out += uri is None and file not in self.gone
        return Picture(self._taken, path.name, str(path), caption, uri, why_not)


def unseen(album: Album, gone: int = 0, left_out: int = 0) -> Iterator[str]:
    """What to say of pictures that a page does not show.

    Args:
        album: has drawn the page's pictures.
        gone: how many files it could not read before these.
        left_out: for how many it had no room before.
    """
    missing = list(album.gone.values())[gone:]
    if missing:
        yield (
            f"{len(missing)} pictures can't be read now, perhaps they were moved: {missing[0]}. "
            "The numbers are of the time of the evaluation."
        )
    if album.left_out > left_out:
        yield f"The page is full: {album.left_out - left_out} words are left out."


def _uri(path: Path, draw: Draw, longest: int) -> str:
    """The image, reduced and drawn on; raises UserError where it can't be read."""
    image, factor = fitted(read_image(path), longest)
    data = encoded(draw(image, factor), ".webp", _QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"
