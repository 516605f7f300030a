"""A viewer from its socket to its last answer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ocdnet.runs.printed import ViewResult
from ocdnet.serve.carrier import Carrier
from ocdnet.view.app import ViewApp
from ocdnet.view.finder import Finder
from ocdnet.view.model import Model
from ocdnet.view.overview import Overview
from ocdnet.view.sets import PictureSet

LOG = logging.getLogger("ocdnet")
_CONNECTIONS, _TIMEOUT = 100, 5.0


class Viewer:
    """Pictures behind a page, for this machine alone.

    Args:
        path: what was given.
        pictures: of it.
        model: that looks at them; None: there is none.
        port: 0: any that is free.

    Attributes:
        url: of the page.

    Raises:
        EnvironmentFault: the port is taken, or not allowed.
    """

    def __init__(
        self,
        path: Path,
        pictures: PictureSet,
        *,
        model: Model | None = None,
        port: int = 0,
    ) -> None:
        self._path, self._pictures = path, pictures
        self._overview = Overview(pictures)
        self._finder = Finder(pictures, model) if model else None
        self._app = ViewApp(str(path), pictures, self._overview, self._finder, self._work_beside)
        self._carrier = Carrier(
            self._app.routes(),
            host="127.0.0.1",
            port=port,
            connections=_CONNECTIONS,
            timeout=_TIMEOUT,
        )
        self.url = self._carrier.url
        self._failure: BaseException | None = None

    @property
    def done(self) -> bool:
        """Whether all pictures were looked at, and the model is open."""
        return self._overview.done and (self._finder is None or self._finder.ready)

    def stop(self) -> None:
        """Take no more requests, and let `run` return when the last ones are answered."""
        self._carrier.stop()

    def run(self) -> ViewResult:
        """Show the pictures until SIGINT, SIGTERM or `stop`.

        Raises:
            UserError: the model can't be opened.
        """
        began = time.monotonic()
        try:
            self._carrier.run()
        finally:
            self._overview.stop()
        if self._failure is not None:
            raise self._failure
        return ViewResult(
            path=str(self._path),
            url=self.url,
            seconds=round(time.monotonic() - began, 1),
            pictures=len(self._pictures),
            shown=self._app.shown,
        )

    def _work_beside(self) -> None:
        what = self._pictures.what
        LOG.info("Viewing %s: %s at %s (Ctrl-C ends it)", self._path, what, self.url)
        for work in (self._overview.run, self._load):
            threading.Thread(target=self._watched, args=(work,), daemon=True).start()

    def _load(self) -> None:
        if self._finder is not None and self._finder.model.at_once:
            self._finder.load()

    def _watched(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised by `run`
            self._failure = error
            self.stop()
