"""HEIC and PDF, by packages that are imported when such a file is met."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocdnet import install

EXPECTED = "a whole image file (JPEG, PNG, BMP, WebP, TIFF, GIF, PNM, JPEG 2000 or AVIF)"
DPI = 200
"""Pages of PDF are drawn with that many pixels an inch."""

_PACKAGES = {"heic": "pillow_heif", "pdf": "pypdfium2"}
_ONE_AT_A_TIME = threading.Lock()
"""PDFium must not be called by two threads."""


class UnreadableError(Exception):
    """A file cannot be read; `hint` says what to install where that is why."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


def install_line(kind: str) -> str:
    """How to read files of a kind; empty: what it takes is installed."""
    return "" if find_spec(_PACKAGES[kind]) else install.command(kind)


def decode(
    kind: str, data: bytes, page: int, check_size: Callable[[int, int], None]
) -> tuple[NDArray[np.uint8], int]:
    """The pixels of a page, BGR or BGR and alpha, and how many pages there are.

    Raises:
        UnreadableError: the file is damaged, or the package for it is not installed.
    """
    line = install_line(kind)
    if line:
        raise UnreadableError(f"{kind.upper()} needs the package {_PACKAGES[kind]}", line)
    return _pdf(data, page, check_size) if kind == "pdf" else _heic(data, check_size)


def pdf_pages(data: bytes) -> int:
    """The pages of a PDF file.

    Raises:
        UnreadableError: as `decode`.
    """
    if line := install_line("pdf"):
        raise UnreadableError("PDF needs the package pypdfium2", line)
    with _ONE_AT_A_TIME, _document(data) as document:
        return len(document)


def _document(data: bytes) -> Any:
    import pypdfium2

    try:
        return pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        raise UnreadableError(str(error)) from error


def _pdf(
    data: bytes, page: int, check_size: Callable[[int, int], None]
) -> tuple[NDArray[np.uint8], int]:
    import pypdfium2

    with _ONE_AT_A_TIME, _document(data) as document:
        try:
            drawn, scale = document[page], DPI / 72
            check_size(*(round(side * scale) for side in drawn.get_size()))
            picture = drawn.render(scale=scale, rev_byteorder=False).to_numpy().copy()
        except (pypdfium2.PdfiumError, IndexError) as error:
            raise UnreadableError(str(error)) from error
        return (picture if picture.shape[2] >= 3 else picture.repeat(3, axis=2)), len(document)


def _heic(data: bytes, check_size: Callable[[int, int], None]) -> tuple[NDArray[np.uint8], int]:
    import pillow_heif

    try:
        file = pillow_heif.open_heif(data, bgr_mode=True)
        check_size(*file.size)
        picture = np.asarray(file)
    except (LookupError, ValueError, RuntimeError, SyntaxError, EOFError, OSError) as error:
        raise UnreadableError(str(error)) from error
    if picture.dtype != np.uint8:
        picture = (picture >> 8).astype(np.uint8)
    if picture.ndim == 2:
        picture = picture[..., None].repeat(3, axis=2)
    return picture.copy(), len(file)
