"""The routes of `ocdnet view`: pictures by number, lists, details; to pages of this machine."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ocdnet.data.reading import FilePage, Image, read_image
from ocdnet.errors import DataError, UsageError, UserError, printable
from ocdnet.hardware import cpus
from ocdnet.runs.files import is_file
from ocdnet.serve.answers import GONE, Foreign, status_of
from ocdnet.serve.routes import FILES, error_handlers, refuse_other_sites, sender, sent
from ocdnet.version import VERSION
from ocdnet.view.finder import Finder
from ocdnet.view.overview import Overview
from ocdnet.view.sets import PictureSet
from ocdnet.view.shapes import MARKS
from ocdnet.visualize import encoded, fitted

_PAGE = Path(__file__).parent / "page"
_SCRIPTS = ("view.js", "asking.js", "drawing.js", "names.js")
_FILES = FILES | {
    "/": (_PAGE / "index.html", "text/html"),
    **{f"/{name}": (_PAGE / name, "text/javascript") for name in _SCRIPTS},
    "/view.css": (_PAGE / "view.css", "text/css"),
}
"""Each path that is answered with a file, and the file: no other is ever looked for."""
_HERE = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)
"""What a browser calls a server of its own machine. A name that someone else resolves to this
machine is another: its pages would read our answers."""
_WINDOW = 500
_LONGEST_SIDE = 8192
"""Pixels of a picture as it is sent; larger ones are reduced, their outlines are not."""
_QUALITY = 90
_LONGEST_PATH = 400
Answer = Callable[[Request], Response]


class ViewApp:
    """Answers the page.

    Args:
        path: what was given.
        pictures: of it.
        overview: of the pictures.
        finder: looks at them with a model; None: there is none.
        started: called once requests are taken.
    """

    def __init__(
        self,
        path: str,
        pictures: PictureSet,
        overview: Overview,
        finder: Finder | None,
        started: Callable[[], None],
    ) -> None:
        self._path, self._pictures, self._overview = path, pictures, overview
        self._finder, self._started = finder, started
        self._threads = ThreadPoolExecutor(cpus() + 1, thread_name_prefix="view")
        self._turns, self._turn_of_model = asyncio.Semaphore(cpus()), asyncio.Semaphore(1)
        self.shown = 0

    def routes(self) -> Starlette:
        """The application."""
        files = [Route(path, sender(*file)) for path, file in _FILES.items()]
        turns, turn_of_model = self._turns, self._turn_of_model
        answers: dict[str, tuple[Answer, asyncio.Semaphore]] = {
            "/set": (self._set, turns),
            "/list": (self._list, turns),
            "/next": (self._next, turns),
            "/details/{number:int}": (self._details, turns),
            "/picture/{number:int}": (self._picture, turns),
            "/found/{number:int}": (self._found, turn_of_model),
            "/map/{number:int}": (self._map, turn_of_model),
        }
        return Starlette(
            routes=[*(Route(path, self._threaded(*one)) for path, one in answers.items()), *files],
            exception_handlers=error_handlers("GET / (a page)"),
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self._started()
        yield
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _threaded(self, answer: Answer, turns: asyncio.Semaphore) -> Callable[[Request], Any]:
        """A route's function: asked by pages of this machine alone; works in a thread."""

        async def respond(request: Request) -> Response:
            try:
                _refuse_other_names(request)
                refuse_other_sites(request)
                async with turns:
                    # Whoever leafs fast does not wait for what was passed by.
                    if await request.is_disconnected():
                        return Response(status_code=GONE)
                    loop = asyncio.get_running_loop()
                    response = await loop.run_in_executor(self._threads, answer, request)
            except UserError as error:
                response = JSONResponse({"error": error.to_dict()}, status_of(error))
            response.headers["Cache-Control"] = "no-store"
            response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
            return sent(response)

        return respond

    def _set(self, _: Request) -> Response:
        counts, finder = self._overview.counts(), self._finder
        return JSONResponse(
            {
                "path": self._path,
                "what": self._pictures.what,
                "pictures": len(self._pictures),
                "predicted": self._pictures.predicted,
                "seen": self._overview.seen,
                "done": self._overview.done,
                "marks": [
                    {"mark": mark, "says": says, "pictures": counts[mark]}
                    for mark, says in MARKS.items()
                    if counts[mark]
                ],
                "model": finder.model.name if finder else None,
                "ready": finder is not None and finder.ready,
                "version": VERSION,
            }
        )

    def _list(self, request: Request) -> Response:
        """A window of the pictures that match, and where one of them stands among all."""
        found = self._matching(request)
        start = _number(request, "start", 0)
        count = min(_WINDOW, _number(request, "count", _WINDOW))
        rows = [
            [number, self._pictures.name(number), self._overview.mistakes(number)]
            for number in found[start : start + count].tolist()
        ]
        wanted = "of" in request.query_params
        places = np.flatnonzero(found == _number(request, "of", 0)) if wanted else found[:0]
        place = int(places[0]) if len(places) else None
        return JSONResponse({"total": len(found), "start": start, "rows": rows, "place": place})

    def _next(self, request: Request) -> Response:
        """The next picture of a kind behind a number, or before it."""
        found = self._matching(request)
        here = _number(request, "of", 0)
        back = request.query_params.get("step") == "-1"
        ahead = found[found < here][::-1] if back else found[found > here]
        return JSONResponse({"number": int(ahead[0]) if len(ahead) else None})

    def _matching(self, request: Request) -> NDArray[np.int64]:
        query = request.query_params
        mark = query.get("mark", "")
        if mark and mark not in MARKS:
            raise UsageError("bad-query", "There is no such mark", mark, list(MARKS))
        worst = query.get("order") == "worst"
        return self._overview.matching(mark, query.get("name", "")[:200], worst_first=worst)

    def _details(self, request: Request) -> Response:
        number = self._of_path(request)
        document = self._pictures.details(number).document()
        name, marks = self._pictures.name(number), self._overview.marks(number)
        return JSONResponse(document | {"name": name, "marks": marks})

    def _picture(self, request: Request) -> Response:
        image = _read(self._pictures.file(self._of_path(request)))
        self.shown += 1
        height, width = image.shape[:2]
        data = encoded(fitted(image, _LONGEST_SIDE)[0], ".jpg", _QUALITY)
        return Response(data, media_type="image/jpeg", headers={"X-Size": f"{width}x{height}"})

    def _found(self, request: Request) -> Response:
        details = self._with_model().find(self._of_path(request)).details
        return JSONResponse(None if details is None else details.document())

    def _map(self, request: Request) -> Response:
        found = self._with_model().find(self._of_path(request))
        return Response(found.map_png, media_type="image/png")

    def _with_model(self) -> Finder:
        if self._finder is None:
            hint = "Start it with --model."
            raise UsageError("no-model", "This viewer has no model", hint=hint)
        return self._finder

    def _of_path(self, request: Request) -> int:
        number = int(request.path_params["number"])
        if number >= len(self._pictures):
            raise HTTPException(404)
        return number


def _read(file: FilePage) -> Image:
    if not is_file(file.path):
        started = "Start the viewer in the folder in which the run was started that names it."
        raise DataError(
            "no-such-picture",
            f"There is no file {printable(file.path)[:_LONGEST_PATH]}",
            hint=None if file.path.is_absolute() else started,
        )
    try:
        return read_image(file)
    except DataError as error:
        if error.code == "image-too-large":
            error.hint = "Reduce it."
        raise


def _refuse_other_names(request: Request) -> None:
    if not _HERE.fullmatch(request.headers.get("host", "")):
        raise Foreign(
            "other-host",
            "This viewer answers this machine alone",
            expected="http://127.0.0.1 or http://localhost",
        )


def _number(request: Request, key: str, default: int) -> int:
    value = request.query_params.get(key, "")
    if not value:
        return default
    if not value.isdecimal() or len(value) > 9:
        raise UsageError("bad-query", f"{key} is no number", value)
    return int(value)
