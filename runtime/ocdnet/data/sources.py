"""Pictures as callers have them: files, bytes, file objects, arrays and Pillow's images."""

from __future__ import annotations

import os
import sys
from typing import Any, BinaryIO, Protocol, TypeAlias, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from ocdnet.data.blending import blended
from ocdnet.data.reading import (
    FilePage,
    Image,
    check_size,
    decode_image,
    in_mode,
    most_bytes,
    read_image,
)
from ocdnet.errors import DataError


class PillowImage(Protocol):
    """An image of Pillow's, which is an extra."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        ...

    @property
    def mode(self) -> str:
        """How its pixels are to be read."""
        ...

    def convert(self, mode: str, /) -> Any:
        """The same in another mode."""
        ...


Source: TypeAlias = (
    "str | os.PathLike[str] | FilePage | bytes | BinaryIO | NDArray[Any] | PillowImage"
)
"""A picture: its path (or a page of it), its file's bytes or file object opened in binary mode, an
array uint8[H, W] or uint8[H, W, 1, 3 or 4] in OpenCV's order blue, green, red, alpha, or an image
of Pillow's."""
EXPECTED = (
    "a path, bytes, a binary file object, a numpy array uint8 (H, W[, 1, 3 or 4]) in the order "
    "BGR[A], or a PIL image"
)


def read_source(source: Source, img_mode: str = "BGR") -> Image:
    """The pixels of a picture, uint8[H, W, 3]; files as `read_image` reads them.

    Arrays are taken as they are, transparent ones on a plain background; Pillow's images are
    turned upright as their EXIF orientation says.

    Raises:
        DataError: it cannot be read, is no picture, or larger than the limit.
    """
    if isinstance(source, FilePage | str | os.PathLike):
        return read_image(source if isinstance(source, FilePage) else os.fspath(source), img_mode)
    if isinstance(source, bytes | bytearray | memoryview):
        return decode_image(bytes(source), img_mode, "given as bytes")
    if isinstance(source, np.ndarray):
        return _of_array(source, img_mode)
    pillow = sys.modules.get("PIL.Image")  # whoever gives its images has imported it
    if pillow is not None and isinstance(source, pillow.Image):
        return _of_array(_of_pillow(source), img_mode)
    if callable(getattr(source, "read", None)):
        return decode_image(
            _content(cast("BinaryIO", source)),
            img_mode,
            name_of(source) or "given as a file object",
        )
    raise _no_picture(type(source).__name__)


def name_of(source: Source) -> str | None:
    """What results call a picture: its path or its file's name; None: it has none."""
    if isinstance(source, FilePage):
        return str(source.path)
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return name if isinstance(name, str) and name else None


def is_file(source: Source) -> bool:
    """Whether a picture can be read again, from its file."""
    return isinstance(source, FilePage | str | os.PathLike)


def _content(source: BinaryIO) -> bytes:
    data = source.read(most_bytes() + 1)
    if not isinstance(data, bytes):
        raise _no_picture(f"a file object that reads {type(data).__name__}")
    if len(data) > most_bytes():
        raise DataError(
            "image-too-large",
            "A file object holds more bytes than the largest picture",
            got=f"more than {most_bytes():,} bytes",
            expected="one image file",
        )
    return data


def _of_array(array: NDArray[Any], img_mode: str) -> Image:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise _no_picture(f"{array.dtype}{list(array.shape)}")
    height, width = array.shape[:2]
    if not array.size:
        raise _no_picture(f"an array without pixels, {list(array.shape)}")
    check_size(width, height, "The array")
    image: Image = np.array(
        array[..., 0] if array.ndim == 3 and channels == 1 else array, order="C"
    )
    if channels == 4:
        image = blended(image, premultiplied=False)
    if img_mode == "GRAY" and image.ndim == 3:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
    return in_mode(image, img_mode)


def _of_pillow(picture: Any) -> Image:
    """An image of Pillow's in OpenCV's order, upright."""
    from PIL import Image as pillow  # noqa: N813, PLC0415 (an extra)
    from PIL import ImageOps  # noqa: PLC0415

    width, height = picture.size
    check_size(width, height, "The PIL image")
    try:
        upright = ImageOps.exif_transpose(picture)
        if upright.mode in ("I;16", "I;16L", "I;16B", "I", "F"):
            raise _no_picture(f"a PIL image of mode {upright.mode}")
        clear = upright.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in upright.info
        pixels = np.asarray(upright.convert("RGBA" if clear else "RGB"))
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        raise DataError(
            "unreadable-image", f"Cannot read the PIL image: {error}", expected="a whole image"
        ) from error
    return np.ascontiguousarray(pixels[..., [2, 1, 0, *([3] if clear else [])]])


def _no_picture(got: str) -> DataError:
    return DataError("no-picture", "This is no picture", got=got, expected=EXPECTED)
