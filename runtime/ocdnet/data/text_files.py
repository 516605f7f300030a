"""Text files of a dataset as people save them, and what else they turn out to be."""

from __future__ import annotations

import shlex
from pathlib import Path

from ocdnet.errors import DataError
from ocdnet.files import read_regular

MOST_BYTES = 1 << 24
"""Of a label file: that of a page has a thousandth of it."""

_PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*", b"RIFF", b"BM")
_MARKS = (
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
"""Byte order marks, and the encodings that they stand for; the longer ones first."""


def read_text(path: str | Path, kind: str, most: int = MOST_BYTES) -> str:
    """A file's text without byte order mark, every line end a single line feed.

    Args:
        path: the file.
        kind: what it is, in errors: `label file`.
        most: bytes that it may have.

    Raises:
        DataError: it cannot be read or is not UTF-8; the hint names the encoding where the bytes
            show it.
    """
    try:
        raw = read_regular(path, most)
    except OSError as error:
        raise DataError(
            "unreadable-file",
            f"Cannot read the {kind} {path}: {error.strerror}",
            expected="a readable text file",
        ) from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(path, kind, raw, error.start) from error
    if "\0" in text:
        raise not_utf8(path, kind, raw, raw.index(b"\0"))
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text


def as_utf8(path: str | Path) -> bytes | None:
    """A text file's content as UTF-8, where its bytes show that it has another encoding.

    None: it has not, the encoding can't be known, or it can't be read.
    """
    try:
        raw = read_regular(path, MOST_BYTES)
        encoding = _encoding(raw)
        return raw.decode(encoding).removeprefix("\ufeff").encode() if encoding else None
    except (OSError, UnicodeDecodeError):
        return None


def not_utf8(path: str | Path, kind: str, raw: bytes, start: int) -> DataError:
    """The error of a file that is something else than UTF-8 text.

    Args:
        path: the file.
        kind: what it is.
        raw: its first bytes at least.
        start: the first of them that is no UTF-8 text.
    """
    line = raw.count(b"\n", 0, start) + 1
    where, got = f"{path}:{line}: the {kind}", f"byte 0x{raw[start]:02x}"
    encoding = _encoding(raw)
    if encoding:
        where, got = f"{path}: the {kind}", encoding.upper()
        hint = _convert(path, encoding)
    elif raw.startswith(_PICTURES):
        return DataError(
            "not-utf8",
            f"{path}: the {kind} is a picture",
            got=got,
            expected="UTF-8 text",
            hint="Give a folder with img/ and gt/, or a list of `image<tab>label file`."
            if kind == "datalist"
            else "Put the labels there, a line a text region.",
        )
    elif b"\0" in raw:
        hint = f"It is no text: see what it is with `file {shlex.quote(str(path))}`."
    else:
        hint = (
            f"Convert it from the encoding that it has, for example {_convert(path, 'latin1')}"
            " (Chinese: gb18030, Japanese: cp932)."
        )
    return DataError("not-utf8", f"{where} is not UTF-8", got=got, expected="UTF-8 text", hint=hint)


def _encoding(raw: bytes) -> str | None:
    """The encoding that a file's first bytes show: UTF-16 and UTF-32, with or without mark."""
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return encoding
    head = raw[:512]
    if len(head) >= 4 and not len(raw) % 2:
        for name, zeros, letters in (("utf-16le", 1, 0), ("utf-16be", 0, 1)):
            half = head[zeros::2].count(0)
            if half >= 0.8 * len(head[zeros::2]) and not head[letters::2].count(0):
                return name
    return None


def _convert(path: str | Path, encoding: str) -> str:
    name, new = shlex.quote(str(path)), shlex.quote(f"{path}.new")
    return f"iconv -f {encoding} -t utf-8 {name} > {new} && mv {new} {name}"
