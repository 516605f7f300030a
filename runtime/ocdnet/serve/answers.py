"""How a server says what went wrong."""

from __future__ import annotations

import math

from starlette.responses import JSONResponse

from ocdnet.data.picture_header import SIGNATURE_BYTES, kind_of
from ocdnet.errors import RunError, UsageError, UserError
from ocdnet.serve.uploads import TooLarge, Upload

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Of every answer."""
GONE = 499
"""The client did not wait for its answer: in the metrics alone."""
_LONGEST_RETRY = 60
_HINTS = {
    "image-too-large": "Reduce it; the limit is `ocdnet serve --max-megapixels`.",
    "unreadable-image": "Send the whole file as it is on the disk.",
}


class Busy(RunError):
    """The server can't take more now.

    Args:
        code: slug.
        message: a sentence.
        seconds: after which a client may try again.
    """

    def __init__(self, code: str, message: str, seconds: float) -> None:
        self.retry_after = min(_LONGEST_RETRY, max(1, math.ceil(seconds)))
        super().__init__(code, message, hint=f"Try again in {self.retry_after} s.")


class TooSlow(RunError):
    """A request that took longer than the limit."""


class Foreign(UsageError):
    """A page of another site let a browser send this."""


_STATUS = {Busy: 503, TooSlow: 504, TooLarge: 413, Foreign: 403, RunError: 500}
"""Of kinds of errors: the first that fits."""


def problem(error: UserError, upload: Upload | None = None) -> JSONResponse:
    """The answer for an error, with the status that fits.

    Args:
        error: what went wrong.
        upload: the picture that it is about.
    """
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, Busy) else {}
    document = {"error": for_clients(error).to_dict()}
    return JSONResponse(document, status_of(error, upload), headers)


def status_of(error: UserError, upload: Upload | None = None) -> int:
    """The HTTP status of an error."""
    for kind, status in _STATUS.items():
        if isinstance(error, kind):
            return status
    if error.code == "image-too-large":
        return 413
    if upload is not None and kind_of(upload.data[:SIGNATURE_BYTES]) is None:
        return 415
    return 422


def for_clients(error: UserError) -> UserError:
    """The same error with a hint that someone who sent a picture can follow."""
    hint = _HINTS.get(error.code)
    if hint is None:
        return error
    return type(error)(error.code, error.message, error.got, error.expected, hint)
