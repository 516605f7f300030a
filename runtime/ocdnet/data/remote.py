"""A picture from the web: one bounded download of an http(s) URL into a file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from ocdnet.data.picture_header import SIGNATURE_BYTES, kind_of
from ocdnet.errors import DataError
from ocdnet.version import VERSION

SCHEMES = ("http", "https")
SILENCE_SECONDS = 20.0
"""Longest wait for a server to say anything."""
_CHUNK = 1 << 16
_LONGEST_NAME = 100


def is_url(source: str) -> bool:
    """Whether a source is an address of the web, not a path."""
    return source.lower().startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


def file_name(url: str) -> str:
    """The name of the file that a URL leads to; `download` where it tells none."""
    name = Path(unquote(urlsplit(url).path)).name.replace("\0", "")
    return name[-_LONGEST_NAME:].lstrip(".") or "download"


def download(url: str, target: Path, *, most: int, seconds: float = 300.0) -> None:
    """Write what a URL holds to a file.

    Only http and https are spoken, also where the server sends us elsewhere. Nothing but a picture
    (or PDF) is taken: its first bytes tell.

    Args:
        url: its address; a name and password in it are refused.
        target: the file; what is there after an error is no whole picture.
        most: bytes that it may have.
        seconds: that it may take in all.

    Raises:
        DataError: the URL is none, can't be reached in time, or leads to no picture of this size.
    """
    with _explained(url), web_opener().open(web_request(url), timeout=SILENCE_SECONDS) as answer:
        head = answer.read(SIGNATURE_BYTES)
        if kind_of(head) is None:
            kind = answer.headers.get_content_type()
            raise _fault(url, f"it is no picture, but {kind}" if head else "it is empty")
        _copy(url, answer, target, head, most, time.monotonic() + seconds)


def _copy(
    url: str, answer: IO[bytes], target: Path, head: bytes, most: int, deadline: float
) -> None:
    size, data = 0, head
    with target.open("wb") as file:
        while data:
            size += len(data)
            if size > most:
                raise _fault(url, f"it has more than {most:,} bytes", "image-too-large")
            if time.monotonic() > deadline:
                raise _fault(url, "it took too long")
            file.write(data)
            data = answer.read1(_CHUNK)  # type: ignore[attr-defined]
    expected = getattr(answer, "length", None)  # bytes that were announced and did not come
    if expected:
        raise _fault(url, f"the connection broke {expected:,} bytes before its end")


class _Redirects(HTTPRedirectHandler):
    """Follows a server to http(s) alone, and not for ever."""

    max_redirections = 5

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        if not is_url(newurl):
            raise _fault(
                req.full_url, f"it leads to {newurl[:80]}, which is neither http nor https"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def web_opener() -> OpenerDirector:
    """What opens addresses, without urllib's handlers of file:, ftp: and data:."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        HTTPHandler(),
        HTTPSHandler(),
        UnknownHandler(),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


def web_request(url: str) -> Request:
    """A request for an address; raises DataError where it is none, or holds a password."""
    parts = urlsplit(url)
    if not is_url(url) or not parts.hostname:
        raise _fault(url, "it is no http(s) address")
    if parts.username or parts.password:
        raise _fault(
            url.replace(parts.netloc, parts.netloc.rpartition("@")[2]),
            "a name and password in an address are not sent",
        )
    return Request(url, headers={"User-Agent": f"ocdnet/{VERSION}"})  # noqa: S310 (checked above)


@contextmanager
def _explained(url: str) -> Iterator[None]:
    try:
        yield
    except HTTPError as error:
        reason = str(error.reason).strip().partition("\n")[0]
        raise _fault(url, f"the server says {error.code} {reason}") from error
    except (OSError, HTTPException, ValueError) as error:  # URLError is an OSError
        said = getattr(error, "reason", None) or error
        raise _fault(url, str(said) or type(error).__name__) from error


def _fault(url: str, reason: str, code: str = "unreadable-url") -> DataError:
    return DataError(
        code,
        f"Cannot read {url}: {reason}",
        expected="an http(s) address of an image file",
        hint="Open it in a browser, or download it yourself and give the file.",
    )
