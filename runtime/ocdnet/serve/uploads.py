"""The pictures of a request: its body, or the files of a form."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import NamedTuple

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from ocdnet.errors import DataError
from ocdnet.serve.limits import Limits

FORM = "multipart/form-data"
_NAME = 255
_OTHER_FIELDS = 10
_MEGA = 10**6


class TooLarge(DataError):
    """More than the server takes."""


class Upload(NamedTuple):
    """A picture's bytes, and what the client calls it: a label and never a path of ours."""

    data: bytes
    name: str | None = None


class _InMemory(MultiPartParser):
    """Starlette's parser, which would put files above 1 MB on the disk."""

    spool_max_size = 0  # of a temporary file that never rolls over


async def uploads(request: Request, limits: Limits) -> list[Upload]:
    """Receive the pictures of a request.

    Raises:
        TooLarge: the body is larger than the limit, or it holds more pictures than the queue.
        DataError: no picture is in it, or it is no form that it says it is.
        ClientDisconnect: the client has gone.
    """
    body = await _body(request, limits.body_mb)
    if not request.headers.get("content-type", "").lower().startswith(FORM):
        if not body:
            raise DataError("no-picture", "The body is empty", expected=_expected(limits))
        return [Upload(body)]
    parser = _InMemory(
        request.headers, _once(body), max_files=limits.queue, max_fields=_OTHER_FIELDS
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        many = error.message.startswith("Too many files")
        kind = TooLarge if many else DataError
        raise kind("bad-form", f"The form can't be read: {error.message}") from error
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    found = [Upload(await file.read(), (file.filename or "")[:_NAME] or None) for file in files]
    await form.close()
    if not found:
        raise DataError("no-picture", "The form holds no file", expected=_expected(limits))
    return found


async def _body(request: Request, megabytes: int) -> bytes:
    """The body, of which no more is kept than the limit says."""
    most = megabytes * _MEGA
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise _too_large(megabytes)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise _too_large(megabytes)
        chunks.append(chunk)
    return b"".join(chunks)


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


def _too_large(megabytes: int) -> TooLarge:
    return TooLarge(
        "body-too-large",
        "The request is larger than this server takes",
        expected=f"at most {megabytes} MB",
        hint="Send a smaller file, or fewer at once; the limit is `ocdnet serve --max-body`.",
    )


def _expected(limits: Limits) -> str:
    return f"an image file as the body, or a form ({FORM}) with 1 to {limits.queue} files"
