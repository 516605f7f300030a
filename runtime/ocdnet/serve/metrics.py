"""What a server counts, in Prometheus's text format (version 0.0.4)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper ends of the latency's buckets."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[int] = Counter()
        self._buckets = [0] * len(SECONDS)
        self._seconds = 0.0
        self._pictures: Counter[str] = Counter()
        self._regions = 0
        self._batches = 0
        self._busy = 0.0

    def request(self, status: int, seconds: float) -> None:
        """Count an answered request."""
        with self._lock:
            self._requests[status] += 1
            self._seconds += seconds
            for number, limit in enumerate(SECONDS):
                self._buckets[number] += seconds <= limit

    def picture(self, regions: int | None) -> None:
        """Count a picture by its regions; None: it could not be read."""
        with self._lock:
            self._pictures["unreadable" if regions is None else "done"] += 1
            self._regions += regions or 0

    def batch(self, seconds: float) -> None:
        """Count pictures that went through the network together."""
        with self._lock:
            self._batches += 1
            self._busy += seconds

    def totals(self) -> tuple[dict[str, int], int]:
        """Requests by status, and pictures that were done."""
        with self._lock:
            by_status = {str(status): count for status, count in sorted(self._requests.items())}
            return by_status, self._pictures["done"]

    def seconds_per_picture(self) -> float:
        """Of a worker, on average; 0 before the first."""
        with self._lock:
            return self._busy / max(1, self._pictures.total())

    def text(self, *, held: int, limit: int, ready: bool) -> str:
        """All of it.

        Args:
            held: pictures that the server holds now.
            limit: how many it may hold.
            ready: whether the model is loaded.
        """
        with self._lock:
            lines = [
                *_counter("requests", "Requests to /detect by status", self._by_status()),
                *_counter("pictures", "Pictures by outcome", self._by_outcome()),
                *_counter("regions", "Regions of text found", [("", self._regions)]),
                *_counter("batches", "Calls of the network", [("", self._batches)]),
                *_counter("busy_seconds", "Seconds of work of all workers", [("", self._busy)]),
                *self._histogram(),
            ]
        lines += _gauge("pictures_held", "Pictures received, waiting or in the network", held)
        lines += _gauge("pictures_limit", "Pictures that may be held", limit)
        lines += _gauge("ready", "1 when the model is loaded", int(ready))
        memory = resident_bytes()
        if memory is not None:
            lines += _gauge("resident_bytes", "Memory of the process", memory)
        return "\n".join(lines) + "\n"

    def _by_status(self) -> list[tuple[str, float]]:
        return [(f'{{status="{key}"}}', n) for key, n in sorted(self._requests.items())]

    def _by_outcome(self) -> list[tuple[str, float]]:
        return [(f'{{outcome="{key}"}}', self._pictures[key]) for key in ("done", "unreadable")]

    def _histogram(self) -> Iterator[str]:
        name, count = "ocdnet_request_seconds", self._requests.total()
        yield from _head(name, "Time of requests to /detect", "histogram")
        ends = [*zip(map(str, SECONDS), self._buckets, strict=True), ("+Inf", count)]
        yield from (f'{name}_bucket{{le="{end}"}} {number}' for end, number in ends)
        yield f"{name}_sum {self._seconds}"
        yield f"{name}_count {count}"


def resident_bytes() -> int | None:
    """Memory of this process; None where the system does not tell as Linux does."""
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        return None
    return next((int(x.split()[1]) * 1024 for x in lines if x.startswith("VmRSS:")), None)


def _counter(name: str, help_text: str, rows: Iterable[tuple[str, float]]) -> list[str]:
    name = f"ocdnet_{name}_total"
    return [*_head(name, help_text, "counter"), *(f"{name}{label} {n}" for label, n in rows)]


def _gauge(name: str, help_text: str, value: float) -> list[str]:
    return [*_head(f"ocdnet_{name}", help_text, "gauge"), f"ocdnet_{name} {value}"]


def _head(name: str, help_text: str, kind: str) -> list[str]:
    return [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]
