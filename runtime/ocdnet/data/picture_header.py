"""What an image file's first bytes tell: format, size, pages, transparency; no pixel is decoded."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from ocdnet.data.tiff_header import orientation_of, tiff_pages
from ocdnet.files import open_regular

Data = bytes | mmap
SIGNATURE_BYTES = 32
"""How much of a file `kind_of` looks at."""
_TURNED = range(5, 9)
"""EXIF orientations that exchange width and height."""
_TAGS_BYTES = 1 << 16
_TIFF = (b"II", b"MM")
_MOST_BLOCKS = 200_000
"""Blocks of a file that are walked: the frames of what is behind them are not counted."""


@dataclass(frozen=True, slots=True)
class Header:
    """Of one page of a file.

    Attributes:
        kind: format.
        width: in pixels.
        height: in pixels.
        pages: pages, or frames of an animation.
        index: this page's place among the images of the file.
        alpha: it may be transparent.
        premultiplied: decoded colours are multiplied with the alpha value already.
        clear: of a grey picture without an alpha channel, the value that is transparent.
        orientation: as in EXIF; of TIFF files always 1.
    """

    kind: str
    width: int
    height: int
    pages: int = 1
    index: int = 0
    alpha: bool = False
    premultiplied: bool = False
    clear: int | None = None
    orientation: int = 1


@dataclass(frozen=True, slots=True)
class PictureSize:
    """Width and height in pixels as a viewer shows a picture.

    Attributes:
        width: in pixels.
        height: in pixels.
        orientation: how the stored pixels are turned for that, as in EXIF.
    """

    width: int
    height: int
    orientation: int = 1

    @property
    def turned(self) -> bool:
        """Whether the stored picture lies on its side, and EXIF says how to turn it."""
        return self.orientation in _TURNED

    def upright(self, values: Sequence[float]) -> list[float]:
        """Pixels x1, y1, ... of a turned picture as it is stored, in it as it is shown."""
        shown: list[float] = []
        for x, y in zip(values[0::2], values[1::2], strict=True):
            shown.append(self.width - 1 - y if self.orientation in (6, 7) else y)
            shown.append(self.height - 1 - x if self.orientation in (7, 8) else x)
        return shown


def kind_of(head: bytes) -> str | None:
    """The format by a file's first SIGNATURE_BYTES bytes; None: none that is read."""
    for kind, starts in _SIGNATURES.items():
        if head.startswith(starts):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        brands = {head[8:12], *(head[at : at + 4] for at in range(16, len(head), 4))}
        return "avif" if brands & _AVIF else "heic" if brands & _HEIC else None
    return None


def header_of(data: Data, page: int = 0) -> Header | None:
    """The header of a page of a file; None where it is damaged, or of no format read here."""
    kind = kind_of(data[:SIGNATURE_BYTES])
    if kind not in _READERS:
        return None
    try:
        header = _READERS[kind](data, page)
    except (struct.error, IndexError, KeyError, OverflowError, ValueError):
        return None
    return header if header.width > 0 and header.height > 0 else None


def picture_size(path: str | Path) -> PictureSize | None:
    """The size of a picture by its header; None where that is damaged or does not tell."""
    try:
        with open_regular(path) as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            header = header_of(data)
            orientation = orientation_of(data[:_TAGS_BYTES]) if data[:2] in _TIFF else 1
    except (OSError, ValueError):
        return None
    # A turned TIFF is shown as its reader pleases: nothing is said of it.
    if header is None or orientation != 1:
        return None
    if header.orientation in _TURNED:
        return PictureSize(header.height, header.width, header.orientation)
    return PictureSize(header.width, header.height, header.orientation)


def _jpeg(data: Data, _: int) -> Header:
    at, orientation = 2, 1
    while True:
        at = data.find(b"\xff", at)
        marker = data[at + 1] if at >= 0 else 0xD9
        if marker == 0xD9:
            raise ValueError("no frame header")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return Header("jpeg", width, height, orientation=orientation)
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            orientation = orientation_of(data[at + 4 : at + 4 + _TAGS_BYTES])
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            at += 1
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]


def _chunks(data: Data, at: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and length of the chunks of PNG (size, name, data, sum) or RIFF."""
    for _ in range(_MOST_BLOCKS):
        if at + 8 > len(data):
            return
        size = struct.unpack_from(f"{order}I", data, at + (0 if order == ">" else 4))[0]
        name = data[at + 4 : at + 8] if order == ">" else data[at : at + 4]
        yield name, at + 8, size
        at += 8 + size + (4 if order == ">" else size % 2)


def _png(data: Data, _: int) -> Header:
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    header = Header("png", width, height, alpha=colour >= 4)
    for name, start, size in _chunks(data, 8, ">"):
        if start + size > len(data):  # OpenCV makes room for what a chunk promises
            raise ValueError("cut off")
        if name == b"acTL":
            header = replace(header, pages=struct.unpack_from(">I", data, start)[0])
        elif name == b"tRNS":
            header = replace(header, alpha=True)
            if colour == 0:
                grey = struct.unpack_from(">H", data, start)[0]
                header = replace(header, clear=grey * (255 // (2 ** min(depth, 8) - 1)))
        elif name == b"eXIf":
            header = replace(header, orientation=orientation_of(data[start : start + size]))
        elif name == b"IEND":
            return header
    raise ValueError("no end")


def _gif(data: Data, _: int) -> Header:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at, frames = 13 + _palette(flags), 0
    steps = count()
    while next(steps) < _MOST_BLOCKS and at < len(data) and data[at] in (0x2C, 0x21):
        if data[at] == 0x2C:
            frames += 1
            at += 11 + _palette(data[at + 9])
        else:
            at += 2
        while next(steps) < _MOST_BLOCKS and at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
    return Header("gif", width, height, pages=max(1, frames), alpha=True)


def _palette(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _webp(data: Data, _: int) -> Header:
    header, frames = None, 0
    for name, start, size in _chunks(data, 12, "<"):
        if name == b"VP8X":
            width, height = (
                int.from_bytes(data[start + k : start + k + 3], "little") for k in (4, 7)
            )
            header = Header("webp", width + 1, height + 1, alpha=bool(data[start] & 0x10))
        elif name == b"VP8L" and header is None:
            bits = struct.unpack_from("<I", data, start + 1)[0]
            sides = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
            return Header("webp", *sides, alpha=bool(bits >> 28 & 1))
        elif name == b"VP8 " and header is None:
            width, height = struct.unpack_from("<HH", data, start + 6)
            return Header("webp", width & 0x3FFF, height & 0x3FFF)
        elif name == b"ANMF":
            frames += 1
        elif name == b"EXIF" and header is not None:
            header = replace(header, orientation=orientation_of(data[start : start + size]))
    if header is None:
        raise ValueError("no picture")
    return replace(header, pages=max(1, frames))


def _tiff(data: Data, page: int) -> Header:
    pages = tiff_pages(data)
    one = pages[page]
    return Header(
        "tiff",
        one.width,
        one.height,
        pages=len(pages),
        index=one.index,
        alpha=one.extra is not None,
        # OpenCV reads 8 bits by libtiff's RGBA interface, which multiplies.
        premultiplied=one.extra == 1 or (one.extra == 2 and one.bits == 8),
    )


def _bmp(data: Data, _: int) -> Header:
    size = struct.unpack_from("<I", data, 14)[0]
    if size == 12:
        return Header("bmp", *struct.unpack_from("<HH", data, 18))
    width, height, _planes, bits = struct.unpack_from("<iiHH", data, 18)
    alpha = size >= 56 and bits == 32 and data[66:70] != bytes(4)
    return Header("bmp", width, abs(height), alpha=alpha)


def _pnm(data: Data, _: int) -> Header:
    lines = (line.split(b"#")[0] for line in data[:4096].split(b"\n"))
    words = [word for line in lines for word in line.split()]
    if words[0] == b"P7":
        named = dict(pairwise(words[1:]))
        depth = int(named[b"DEPTH"])
        return Header("pnm", int(named[b"WIDTH"]), int(named[b"HEIGHT"]), alpha=depth in (2, 4))
    return Header("pnm", int(words[1]), int(words[2]))


def _jpeg2000(data: Data, _: int) -> Header:
    # The codestream's own size, which is what is decoded.
    start = data.find(b"\xff\x4f\xff\x51")
    right, bottom, left, top = struct.unpack_from(">IIII", data, start + 8)
    if start < 0:
        raise ValueError("no codestream")
    return Header("jp2", right - left, bottom - top, alpha=b"cdef" in data[:start])


def _avif(data: Data, _: int) -> Header:
    meta = data[: 1 << 20]
    sizes = [struct.unpack_from(">II", meta, at + 8) for at in _places(meta, b"ispe")]
    width, height = max(sizes, key=lambda size: int(size[0]) * int(size[1]))
    samples = list(_places(data, b"stsz"))
    frames = struct.unpack_from(">I", data, samples[0] + 12)[0] if samples else 1
    turn = next(_places(meta, b"irot"), None)
    return Header(
        "avif",
        width,
        height,
        pages=max(1, frames),
        alpha=b"auxiliary:alpha" in meta,
        orientation=1 if turn is None else (1, 8, 3, 6)[meta[turn + 4] & 3],
    )


def _places(data: Data, name: bytes) -> Iterator[int]:
    at = data.find(name)
    while at >= 0:
        yield at
        at = data.find(name, at + 1)


_SIGNATURES: dict[str, bytes | tuple[bytes, ...]] = {
    "jpeg": b"\xff\xd8\xff",
    "png": b"\x89PNG\r\n\x1a\n",
    "gif": (b"GIF87a", b"GIF89a"),
    "tiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "bmp": b"BM",
    "pnm": tuple(f"P{letter}".encode() for letter in "1234567Ff"),
    "jp2": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    "pdf": b"%PDF-",
}
_AVIF = {b"avif", b"avis"}
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_READERS: dict[str | None, Callable[[Any, int], Header]] = {
    "jpeg": _jpeg,
    "png": _png,
    "gif": _gif,
    "webp": _webp,
    "tiff": _tiff,
    "bmp": _bmp,
    "pnm": _pnm,
    "jp2": _jpeg2000,
    "avif": _avif,
}
