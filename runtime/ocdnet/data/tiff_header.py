"""The directories of a TIFF file: its pages; and the orientation that EXIF, a TIFF too, tells."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from mmap import mmap

_MOST_PAGES = 65_536
_MOST_TAGS = 4_096
_SIZES = {1: 1, 3: 2, 4: 4, 16: 8}
_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_COLOURS = {2: 3, 5: 4, 6: 3, 8: 3}
"""Channels of a photometric interpretation; of others, one."""


@dataclass(frozen=True, slots=True)
class TiffPage:
    """One page.

    Attributes:
        index: its place among the directories.
        width: in pixels.
        height: in pixels.
        bits: of a channel.
        extra: what the channel behind the colours is: 0 unknown, 1 alpha that the colours are
            multiplied with, 2 alpha; None: there is no such channel.
    """

    index: int
    width: int
    height: int
    bits: int
    extra: int | None


def tiff_pages(data: bytes | mmap) -> list[TiffPage]:
    """The pages; thumbnails and masks behind the first are none.

    Raises:
        ValueError: the file is damaged before its first page.
    """
    pages = []
    for index, tags in enumerate(_directories(data)):
        if index and tags.get(254, 0) & 5:
            continue
        colours = _COLOURS.get(tags.get(262, 1), 1)
        more = tags.get(277, 1) > colours
        page = TiffPage(
            index,
            tags.get(256, 0),
            tags.get(257, 0),
            tags.get(258, 1),
            tags.get(338, 0) if more else None,
        )
        pages.append(page)
    return pages


def orientation_of(exif: bytes) -> int:
    """The orientation, 1..8, that EXIF tells; 1 where it tells none."""
    try:
        tags = next(_directories(exif.removeprefix(b"Exif\0\0")), {})
    except ValueError:
        return 1
    found = tags.get(274, 1)
    return found if 1 <= found <= 8 else 1


def _directories(data: bytes | mmap) -> Iterator[Mapping[int, int]]:
    """The tags of each directory, with the first of their values.

    Raises:
        ValueError: no TIFF, or the first directory is damaged.
    """
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None or len(data) < 16:
        raise ValueError("no TIFF")
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    link, length, width = ("Q", "Q", 8) if big else ("I", "H", 4)
    (at,) = struct.unpack_from(order + link, data, width)
    seen: set[int] = set()
    while at and at not in seen and len(seen) < _MOST_PAGES:
        seen.add(at)
        try:
            (number,) = struct.unpack_from(order + length, data, at)
            start = at + struct.calcsize(length)
            places = [start + k * (4 + 2 * width) for k in range(min(number, _MOST_TAGS))]
            tags = dict(_tag(data, place, order, width) for place in places)
            yield tags
            (at,) = struct.unpack_from(order + link, data, start + number * (4 + 2 * width))
        except (struct.error, OverflowError) as error:
            if len(seen) > 1:
                return
            raise ValueError("no directory") from error


def _tag(data: bytes | mmap, at: int, order: str, width: int) -> tuple[int, int]:
    """A tag and its first value, which is 0 where it is no whole number."""
    link = _FORMATS[width]
    tag, kind, number = struct.unpack_from(f"{order}HH{link}", data, at)
    size = _SIZES.get(kind)
    if size is None:
        return tag, 0
    place = at + 4 + width
    if size * number > width:
        (place,) = struct.unpack_from(order + link, data, place)
    value = struct.unpack_from(order + _FORMATS[size], data, place)[0]
    return tag, int(value)
