"""The routes of `ocdnet serve`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ocdnet.errors import UsageError, UserError
from ocdnet.runs.pages import PageRecord
from ocdnet.runs.printed import Problem
from ocdnet.runs.typed import to_json
from ocdnet.serve.answers import GONE, Busy, TooSlow, for_clients, problem
from ocdnet.serve.limits import Limits
from ocdnet.serve.metrics import CONTENT_TYPE, Metrics
from ocdnet.serve.routes import FILES, error_handlers, refuse_other_sites, sender, sent
from ocdnet.serve.uploads import FORM, Upload, uploads
from ocdnet.serve.waiting import Result, Waiting
from ocdnet.version import VERSION

_PAGE = Path(__file__).parent / "page"
_ORDER = "reading_order"
_FILES = FILES | {
    "/": (_PAGE / "index.html", "text/html"),
    "/viewer.js": (_PAGE / "viewer.js", "text/javascript"),
    "/viewer.css": (_PAGE / "viewer.css", "text/css"),
}
"""Each path that is answered with a file, and the file: no other is ever looked for."""


class App:
    """Answers requests from a queue of pictures.

    Args:
        model: what clients are told of the model: its name.
        waiting: the queue.
        metrics: counts requests.
        limits: what is taken.
        started: called once requests are taken.
    """

    def __init__(
        self,
        model: str,
        waiting: Waiting,
        metrics: Metrics,
        limits: Limits,
        started: Callable[[], None],
    ) -> None:
        self.model, self.waiting, self.metrics, self.limits = model, waiting, metrics, limits
        self.ready = False
        self._started = started

    def routes(self) -> Starlette:
        """The application."""
        files = [Route(path, sender(*file)) for path, file in _FILES.items()]
        return Starlette(
            routes=[
                Route("/detect", self._detect, methods=["POST"]),
                Route("/health", self._health),
                Route("/metrics", self._metrics),
                *files,
            ],
            exception_handlers=error_handlers("POST /detect, GET /, /health, /metrics"),
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self._started()
        yield

    async def _health(self, _: Request) -> Response:
        state = {"status": "ready" if self.ready else "loading"}
        document = {**state, "model": self.model, "version": VERSION}
        return sent(JSONResponse(document, 200 if self.ready else 503))

    async def _metrics(self, _: Request) -> Response:
        text = self.metrics.text(held=self.waiting.held, limit=self.waiting.limit, ready=self.ready)
        return sent(Response(text, headers={"Content-Type": CONTENT_TYPE}))

    async def _detect(self, request: Request) -> Response:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self.limits.timeout):
                response = await self._answer(request)
        except TimeoutError:
            late = f"No answer within {self.limits.timeout:g} s"
            response = problem(TooSlow("timeout", late, hint="The server is slow or overloaded."))
        except UserError as error:
            response = problem(error)
        except ClientDisconnect:
            response = Response(status_code=GONE)
        except Exception:
            self.metrics.request(500, time.perf_counter() - began)
            raise
        self.metrics.request(response.status_code, time.perf_counter() - began)
        return sent(response)

    async def _answer(self, request: Request) -> Response:
        refuse_other_sites(request)
        in_order = _reading_order(request)
        if not self.ready:
            raise Busy("loading", "The model is being loaded", 1)
        if not self.waiting.take(1):
            raise self._busy()
        places = 1
        try:
            sent = await uploads(request, self.limits)
            if not self.waiting.take(len(sent) - 1):
                raise self._busy()
            places = len(sent)
            results = []
            for upload in sent:
                results.append(self.waiting.submit(upload.data, in_order))
                places -= 1
        finally:
            self.waiting.give_back(places)
        rows = await _while_connected(request, results)
        if request.headers.get("content-type", "").lower().startswith(FORM):
            pairs = zip(rows, sent, strict=True)
            return JSONResponse([to_json(_record(row, upload)) for row, upload in pairs])
        row = rows[0]
        return JSONResponse(to_json(row)) if isinstance(row, PageRecord) else problem(row, sent[0])

    def _busy(self) -> Busy:
        seconds = self.waiting.seconds()
        return Busy("busy", f"The server holds {self.waiting.limit} pictures already", seconds)


async def _while_connected(request: Request, results: list[Future[Result]]) -> list[Result]:
    """The results, or ClientDisconnect where the client goes first: what waits is left out then."""
    futures = [asyncio.wrap_future(result) for result in results]
    everything = asyncio.ensure_future(asyncio.wait(futures))
    # The body is read: what is received now is the end of the connection.
    leaving: asyncio.Future[Any] = asyncio.ensure_future(request.receive())
    either: list[asyncio.Future[Any]] = [everything, leaving]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not everything.done():
            raise ClientDisconnect
        return [future.result() for future in futures]
    finally:
        everything.cancel()
        leaving.cancel()
        for result in results:
            result.cancel()


def _record(row: Result, upload: Upload) -> PageRecord:
    if isinstance(row, PageRecord):
        return replace(row, image=upload.name)
    error = Problem(**for_clients(row).to_dict())
    return PageRecord(image=upload.name, error=error)


def _reading_order(request: Request) -> bool:
    """What the query says of it.

    Raises:
        UsageError: it says something else.
    """
    unknown = [key for key in request.query_params if key != _ORDER]
    value = request.query_params.get(_ORDER, "false").lower()
    if unknown or value not in ("true", "false"):
        raise UsageError(
            "bad-query",
            "The query is not known",
            got=str(request.query_params),
            expected=f"{_ORDER}=true or {_ORDER}=false",
        )
    return value == "true"
