"""A server from its socket to its last answer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ocdnet.data.reading import pixel_limit
from ocdnet.detector import Detector
from ocdnet.runs.printed import ServeResult
from ocdnet.serve.app import App
from ocdnet.serve.carrier import Carrier
from ocdnet.serve.limits import Limits
from ocdnet.serve.metrics import Metrics
from ocdnet.serve.waiting import Waiting

LOG = logging.getLogger("ocdnet")


class Server:
    """A detector behind HTTP.

    Args:
        model: what the detector opens; clients are told the file's name alone.
        opens: makes the detector; called once the server listens.
        host: name or address to listen at.
        port: 0: any that is free.
        workers: threads that take pictures through the network.
        batch: pictures that each takes at once, at most.
        limits: what is taken.

    Raises:
        EnvironmentFault: the port is taken, or not allowed.
        UsageError: the host is no address of this machine.
    """

    def __init__(
        self,
        model: str,
        opens: Callable[[], Detector],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        workers: int = 1,
        batch: int = 1,
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._model, self._opens = model, opens
        self._metrics = Metrics()
        self._waiting = Waiting(self.limits.queue, workers, batch, self._metrics)
        self._app = App(
            Path(model).name, self._waiting, self._metrics, self.limits, self._load_beside
        )
        self._failure: BaseException | None = None
        self._detector: Detector | None = None
        self._carrier = Carrier(
            self._app.routes(),
            host=host,
            port=port,
            connections=self.limits.connections,
            timeout=self.limits.timeout,
        )
        self.url = self._carrier.url

    @property
    def ready(self) -> bool:
        """Whether pictures are taken."""
        return self._app.ready

    def stop(self) -> None:
        """Take no more requests, and let `run` return when the last ones are answered."""
        self._carrier.stop()

    def run(self) -> ServeResult:
        """Serve until SIGINT, SIGTERM or `stop`.

        Raises:
            UserError: the model can't be opened.
        """
        began = time.monotonic()
        with pixel_limit(self.limits.megapixels):
            try:
                self._carrier.run()
            finally:
                self._end()
        if self._failure is not None:
            raise self._failure
        requests, pictures = self._metrics.totals()
        seconds = round(time.monotonic() - began, 1)
        return ServeResult(
            model=self._model, url=self.url, seconds=seconds, requests=requests, pictures=pictures
        )

    def _end(self) -> None:
        ended = self._waiting.close(0.0 if self._carrier.hurried else self.limits.timeout)
        if ended and self._detector is not None:
            self._detector.close()

    def _load_beside(self) -> None:
        threading.Thread(target=self._load, name="load", daemon=True).start()

    def _load(self) -> None:
        try:
            detector = self._opens()
        except BaseException as error:  # noqa: BLE001 - raised by `run`
            self._failure = error
            self.stop()
            return
        self._detector = detector
        self._waiting.start(detector)
        self._app.ready = True
        LOG.info("Serving %s at %s (Ctrl-C ends it)", self._model, self.url)
