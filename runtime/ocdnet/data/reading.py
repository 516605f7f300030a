"""Image files as pixels: the one reader of training, evaluation, inference and calibration."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ocdnet import findings
from ocdnet.data import optional_formats
from ocdnet.data.blending import blended, turned
from ocdnet.data.layout import PDF
from ocdnet.data.picture_header import SIGNATURE_BYTES, Header, header_of, kind_of
from ocdnet.errors import DataError, SpecError
from ocdnet.files import open_regular
from ocdnet.spec_keys import MAX_MEGAPIXELS, MEGAPIXELS

IMG_MODES = ("BGR", "RGB", "GRAY")
Image: TypeAlias = NDArray[np.uint8]

_BYTES_PER_PIXEL = 8
"""Of a file: four channels of 16 bits, not compressed."""
_HEADERS_BYTES = 1 << 26
_SMALL = 256
"""Pixels of a side below which a picture is not reduced."""
_limit = MEGAPIXELS


class FilePage(NamedTuple):
    """A page of an image file, counted from 0; None: the file is a single picture."""

    path: Path
    number: int | None = None


class _BadImageError(Exception):
    """Why a file cannot be read."""

    def __init__(self, reason: str, code: str = "unreadable-image", hint: str = "") -> None:
        super().__init__(reason)
        self.reason, self.code, self.hint = reason, code, hint


def limit() -> int:
    """Megapixels of the largest picture that this process decodes."""
    return _limit


def set_limit(megapixels: int) -> None:
    """Refuse larger pictures from now on, in every thread of this process."""
    global _limit  # noqa: PLW0603 (one for the process, as the spec says it)
    _limit = megapixels


@contextmanager
def pixel_limit(megapixels: int) -> Iterator[None]:
    """`set_limit` within."""
    before = limit()
    set_limit(megapixels)
    try:
        yield
    finally:
        set_limit(before)


def read_image(source: str | Path | FilePage, img_mode: str = "BGR") -> Image:
    """Decode an image file to uint8[H, W, 3]; GRAY repeats the grey value in three channels.

    A picture is turned upright as its EXIF orientation says: people label what a viewer shows them,
    and cv2.imread, which TAO uses, does the same. Transparent parts show a plain background (see
    `blended`). Of several pages or frames the first is read, unless one is asked for. What is
    blended or not read is noted.

    Raises:
        DataError: the file is absent, empty, not a whole image, or larger than `pixel_limit`.
        SpecError: an unknown `img_mode`.
    """
    path, number = source if isinstance(source, FilePage) else (source, None)
    return decode_image(_content(path), img_mode, path, number)


def _content(path: str | Path) -> bytes:
    """A file's bytes, the first ones of what is no picture."""
    try:
        with open_regular(path) as file:
            head = file.read(SIGNATURE_BYTES)
            return _whole(file, head) if kind_of(head) else head
    except OSError as error:
        raise _unreadable(path, _BadImageError(str(error.strerror))) from error
    except _BadImageError as error:
        raise _unreadable(path, error) from error


def read_small(path: str | Path) -> Image:
    """A picture as `read_image` would read it, grey and maybe reduced: uint8[h, w].

    Photographs are decoded at an eighth of their size where that is enough to compare them by: in
    half of the time, and what is wrong with the file shows all the same.

    Raises:
        DataError: as `read_image`.
    """
    return _pixels(_content(path), path, None, cv2.IMREAD_REDUCED_GRAYSCALE_8)


def decode_image(
    data: bytes, img_mode: str = "BGR", name: str | Path = "", number: int | None = None
) -> Image:
    """`read_image` for the content of a file.

    Args:
        data: the file's bytes.
        img_mode: as of `read_image`.
        name: what messages call it.
        number: of the page, from 0; None: the first of possibly several, which is noted.

    Raises:
        DataError: no whole image, or larger than `pixel_limit`.
        SpecError: an unknown `img_mode`.
    """
    check_img_mode(img_mode)
    grey = img_mode == "GRAY"
    flag = cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR
    return in_mode(_pixels(data, name, number, flag), img_mode)


def _pixels(data: bytes, name: str | Path, number: int | None, flag: int) -> Image:
    """The pixels of a file as OpenCV's flag says: grey ones uint8[H, W], else uint8[H, W, 3]."""
    try:
        return _decoded(data, name, number, flag)
    except cv2.error as error:  # more pixels than OpenCV allows
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError(error.err) from error
        raise _unreadable(name, _BadImageError(error.err)) from error
    except _BadImageError as error:
        raise _unreadable(name, error) from error


def in_mode(image: Image, img_mode: str) -> Image:
    """Pixels uint8[H, W] or uint8[H, W, 3], blue first, as `img_mode` has them; in place."""
    if image.ndim == 2:
        return np.asarray(cv2.merge([image] * 3), dtype=np.uint8)
    if img_mode == "RGB":
        cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    return image


def check_img_mode(img_mode: str) -> None:
    """Raise SpecError unless the mode is one of IMG_MODES."""
    if img_mode not in IMG_MODES:
        raise SpecError(
            "bad-img-mode", "Unknown img_mode", got=img_mode, expected=" | ".join(IMG_MODES)
        )


def pages_of(path: Path) -> list[FilePage]:
    """The pages of a TIFF or PDF file; of other files, and of one that is damaged, a single one."""
    try:
        with open_regular(path) as file:
            head = file.read(SIGNATURE_BYTES)
            kind = kind_of(head)
            if kind not in ("tiff", "pdf"):
                return [FilePage(path)]
            if kind == "pdf":
                number = optional_formats.pdf_pages(_whole(file, head))
            else:
                # Not read: the directories of a large scan lie far apart.
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    header = header_of(data)
                    number = header.pages if header else 1
    except (OSError, _BadImageError, optional_formats.UnreadableError):
        return [FilePage(path)]
    return [FilePage(path, page) for page in range(number)] if number > 1 else [FilePage(path)]


def pages_of_file(path: Path) -> list[FilePage]:
    """`pages_of`, without opening a file whose suffix tells that it has none."""
    return pages_of(path) if path.suffix.lower() in (".tif", ".tiff", PDF) else [FilePage(path)]


@cache
def undecodable() -> frozenset[str]:
    """Suffixes of the formats that the installed OpenCV does not read."""
    return frozenset(s for s in (".gif", ".jp2", ".avif") if not cv2.haveImageWriter(f"a{s}"))


def _decoded(data: bytes, path: str | Path, number: int | None, flag: int) -> Image:
    """Pixels uint8[H, W] or, in the order blue, green, red, uint8[H, W, 3]."""
    grey = flag != cv2.IMREAD_COLOR
    kind = kind_of(data[:SIGNATURE_BYTES])
    if kind is None:
        raise _BadImageError("not a whole image of a known format" if data else "it is empty")
    if kind in ("heic", "pdf"):
        try:
            picture, pages = optional_formats.decode(kind, data, number or 0, _check_size)
        except optional_formats.UnreadableError as error:
            raise _BadImageError(str(error), hint=error.hint) from error
        if picture.shape[2] == 4:
            picture = _seen(picture, False, path)
        image = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if grey else picture
    else:
        header = header_of(data, number or 0)
        if header is None:
            raise _BadImageError("not a whole image of a known format")
        _check_size(header.width, header.height)
        if flag == cv2.IMREAD_REDUCED_GRAYSCALE_8 and min(header.width, header.height) < _SMALL:
            flag = cv2.IMREAD_GRAYSCALE
        pages, image = header.pages, _by_opencv(data, header, path, flag)
    if number is None and pages > 1:
        message = "Pages or frames behind the first were not read"
        findings.note("pages", message, file=path, count=pages - 1, once=True)
    return np.asarray(image, dtype=np.uint8)


def _whole(file: FileIO, head: bytes) -> bytes:
    size = os.fstat(file.fileno()).st_size
    if size > most_bytes():
        raise _BadImageError(
            f"its {size / 1e6:,.0f} MB are more than an image of {_limit} megapixels has",
            "image-too-large",
            f"Reduce it, or raise {MAX_MEGAPIXELS} in a spec.",
        )
    return head + file.readall()


def most_bytes() -> int:
    """Bytes that a file of the largest picture may have."""
    return _limit * 10**6 * _BYTES_PER_PIXEL + _HEADERS_BYTES


def _check_size(width: int, height: int) -> None:
    if width * height > _limit * 10**6:
        raise _BadImageError(
            f"its {width} x {height} pixels are more than {_limit} megapixels",
            "image-too-large",
            f"Reduce it, or raise {MAX_MEGAPIXELS} in a spec.",
        )


def check_size(width: int, height: int, what: str) -> None:
    """Raise DataError where a picture that is in memory already is above `pixel_limit`."""
    if width * height > _limit * 10**6:
        raise DataError(
            "image-too-large",
            f"{what} has more than {_limit} megapixels",
            got=f"{width} x {height}",
            hint="Reduce it, or cut it into parts.",
        )


def _by_opencv(data: bytes, header: Header, path: str | Path, flag: int) -> Image:
    array, grey = np.frombuffer(data, np.uint8), flag != cv2.IMREAD_COLOR
    if header.alpha and (image := _without_alpha(array, header, path, grey)) is not None:
        return image
    image = _page(array, header, flag)
    if image is None:
        raise _BadImageError("not a whole image of a known format")
    # OpenCV knows of EXIF's orientation, but not of the one that AVIF has instead.
    return turned(image, header.orientation) if header.kind == "avif" else image


def _page(array: NDArray[np.uint8], header: Header, flag: int) -> Image | None:
    if header.index == 0:
        image = cv2.imdecode(array, flag)
        return image if image is None else np.asarray(image)
    _, images = cv2.imdecodemulti(array, flag, range=(header.index, header.index + 1))
    return np.asarray(images[0]) if images else None


def _without_alpha(
    array: NDArray[np.uint8], header: Header, path: str | Path, grey: bool
) -> Image | None:
    """A picture without its alpha channel, blended; None: it is to be read as an opaque one."""
    picture: NDArray[Any] | None = _page(array, header, cv2.IMREAD_UNCHANGED)
    if picture is not None and picture.ndim == 2 and header.clear is not None:
        alpha = np.where(picture == header.clear, 0, np.iinfo(picture.dtype).max)
        picture = cv2.merge([picture] * 3 + [alpha.astype(picture.dtype)])
    if picture is None or picture.shape[2:] != (4,) or picture.dtype not in (np.uint8, np.uint16):
        if header.kind != "gif":
            message = "The transparency of pictures of this kind cannot be read: taken as opaque"
            findings.note("transparency-unread", message, file=path, once=True)
        return None
    deep = picture.dtype == np.uint16
    if deep:
        picture = (picture >> 8).astype(np.uint8)
    alpha = picture[..., 3]
    # A bitmap of which no pixel can be seen has left its fourth byte unused.
    if alpha.min() == 255 or (header.kind == "bmp" and alpha.max() == 0):
        same = not (deep or grey) and header.orientation == 1
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGRA2BGR)) if same else None
    picture = _seen(picture, header.premultiplied, path)
    if header.kind in ("png", "webp", "avif"):  # here OpenCV turns only what it reads as opaque
        picture = turned(picture, header.orientation)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)) if grey else picture


def _seen(picture: Image, premultiplied: bool, path: str | Path) -> Image:
    """BGRA as BGR."""
    if picture[..., 3].min() < 255:
        message = "Transparent pictures were laid on black, or on white where they are dark"
        findings.note("transparency", message, file=path, once=True)
    return blended(picture, premultiplied)


def _unreadable(path: str | Path, error: _BadImageError) -> DataError:
    return DataError(
        error.code,
        f"Cannot read {f'the image {path}' if str(path) else 'the image'}: {error.reason}",
        expected=optional_formats.EXPECTED,
        hint=error.hint or "Replace the file, or remove it and its label.",
    )
