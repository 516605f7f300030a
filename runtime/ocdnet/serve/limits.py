"""What a server takes at most."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What one server takes; whatever is beyond is refused before it costs anything.

    Attributes:
        body_mb: megabytes of a request's body.
        megapixels: of a picture.
        queue: pictures that are held at once: being received, waiting, in the network.
        timeout: seconds from a request's first byte to its answer.
        connections: open at once; one more is answered 503.
    """

    body_mb: int = 32
    megapixels: int = 64
    queue: int = 64
    timeout: float = 30.0
    connections: int = 1000
