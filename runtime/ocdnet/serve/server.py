"""A server from its socket to its last answer."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn

from ocdnet.data.reading import pixel_limit
from ocdnet.detector import Detector
from ocdnet.errors import EnvironmentFault, UsageError, UserError
from ocdnet.runs.printed import ServeResult
from ocdnet.serve.app import App
from ocdnet.serve.limits import Limits
from ocdnet.serve.metrics import Metrics
from ocdnet.serve.waiting import Waiting

LOG = logging.getLogger("ocdnet")


class _Uvicorn(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop when the requests in flight are answered; at the second signal at once."""
        self.force_exit = self.should_exit
        self.should_exit = True


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
        self._socket = listening(host, port)
        name = f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{self._socket.getsockname()[1]}"
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                self._app.routes(),
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=self.limits.connections,
                timeout_graceful_shutdown=int(self.limits.timeout) + 1,
            )
        )

    @property
    def ready(self) -> bool:
        """Whether pictures are taken."""
        return self._app.ready

    def stop(self) -> None:
        """Take no more requests, and let `run` return when the last ones are answered."""
        self._uvicorn.should_exit = True

    def run(self) -> ServeResult:
        """Serve until SIGINT, SIGTERM or `stop`.

        Raises:
            UserError: the model can't be opened.
        """
        began = time.monotonic()
        with pixel_limit(self.limits.megapixels):
            try:
                asyncio.run(self._uvicorn.serve(sockets=[self._socket]))
            finally:
                self._socket.close()
                self._end()
        if self._failure is not None:
            raise self._failure
        requests, pictures = self._metrics.totals()
        seconds = round(time.monotonic() - began, 1)
        return ServeResult(
            model=self._model, url=self.url, seconds=seconds, requests=requests, pictures=pictures
        )

    def _end(self) -> None:
        ended = self._waiting.close(0.0 if self._uvicorn.force_exit else self.limits.timeout)
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


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        EnvironmentFault: the port is taken, or not allowed.
        UsageError: the host is no address of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise _no_host(host) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1)
    except OSError as error:
        listener.close()
        raise _not_bound(error, host, port) from error
    return listener


def _not_bound(error: OSError, host: str, port: int) -> UserError:
    hint = "Take another: --port 0 takes one that is free."
    if error.errno == errno.EADDRINUSE:
        message = f"Port {port} is taken by another program"
        return EnvironmentFault("port-taken", message, got=port, expected="a free port", hint=hint)
    if error.errno == errno.EACCES:
        message = f"Port {port} is not allowed for this user"
        return EnvironmentFault("port-denied", message, got=port, hint=hint)
    return _no_host(host)


def _no_host(host: str) -> UsageError:
    return UsageError(
        "bad-host",
        "The host is no address of this machine",
        got=host,
        expected="127.0.0.1 (this machine alone), 0.0.0.0 (all of its addresses), or one of them",
    )
