"""What carries an application of ours: a socket that listens, uvicorn, and how both end."""

from __future__ import annotations

import asyncio
import errno
import socket
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from ocdnet.errors import EnvironmentFault, UsageError, UserError


class _Uvicorn(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop when the requests in flight are answered; at the second signal at once."""
        self.force_exit = self.should_exit
        self.should_exit = True


class Carrier:
    """An application behind a port, until a signal or `stop` ends it.

    Args:
        app: what answers.
        host: name or address to listen at.
        port: 0: any that is free.
        connections: open at once; one more is answered 503.
        timeout: seconds that requests in flight have at the end.

    Attributes:
        url: where it listens.

    Raises:
        EnvironmentFault: the port is taken, or not allowed.
        UsageError: the host is no address of this machine.
    """

    def __init__(
        self, app: Starlette, *, host: str, port: int, connections: int, timeout: float
    ) -> None:
        self._socket = listening(host, port)
        name = f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{self._socket.getsockname()[1]}"
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                app,
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=connections,
                timeout_graceful_shutdown=int(timeout) + 1,
            )
        )

    @property
    def hurried(self) -> bool:
        """Whether a second signal came: nothing is waited for."""
        return self._uvicorn.force_exit

    def stop(self) -> None:
        """Take no more requests, and let `run` return when the last ones are answered."""
        self._uvicorn.should_exit = True

    def run(self) -> None:
        """Serve until SIGINT, SIGTERM or `stop`."""
        try:
            asyncio.run(self._uvicorn.serve(sockets=[self._socket]))
        finally:
            self._socket.close()


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
