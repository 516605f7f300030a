"""What every application of ours answers alike: files of its page, wrong paths, errors of ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ocdnet.errors import UserError
from ocdnet.serve.answers import HEADERS, Foreign

_PAGE = Path(__file__).parent / "page"
FILES = {
    "/base.css": (_PAGE / "base.css", "text/css"),
    "/icon.svg": (_PAGE / "icon.svg", "image/svg+xml"),
}
"""What every page of ours has: path, file and its kind."""


def sender(path: Path, kind: str) -> Callable[[Request], Awaitable[Response]]:
    """A route's function that answers with a file, which is read now."""
    content = path.read_bytes()

    async def send(_: Request) -> Response:
        headers = {"Cache-Control": "no-cache"}
        return sent(Response(content, media_type=kind, headers=headers))

    return send


def sent(response: Response) -> Response:
    """An answer with the headers of all of ours."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def refuse_other_sites(request: Request) -> None:
    """A page of another site could make a browser send pictures here, though not read answers."""
    if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise Foreign("other-site", "Pages of other sites can't use this server")


def error_handlers(known: str) -> Mapping[Any, Any]:
    """What answers a wrong path or method, and an error of ours.

    Args:
        known: the requests that there are.
    """

    async def no_route(_: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 500)
        code = {404: "no-such-path", 405: "wrong-method"}.get(status, "http")
        document = {"error": UserError(code, str(error), expected=known).to_dict()}
        return sent(JSONResponse(document, status, getattr(error, "headers", None)))

    return {HTTPException: no_route, Exception: _bug}


async def _bug(_: Request, __: Exception) -> Response:
    document = {"error": UserError("bug", "An error of the server; its log says more").to_dict()}
    return sent(JSONResponse(document, 500))
