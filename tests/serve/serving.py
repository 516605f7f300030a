"""A server of this process, on loopback, and the requests that tests send it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ocdnet.data.preprocess import Preprocess
from ocdnet.detector import Detector
from ocdnet.postprocess import DBPostprocessor
from ocdnet.serve.server import Server

SIDE = 64


class Network:
    """Light pixels are text. It computes when it is let, and says what it was given."""

    img_mode = size = normalisation = batch = advised = None
    path, backend, device_type = Path("light.onnx"), "test", "cpu"

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.batches: list[int] = []
        self.poison = -1.0

    def __call__(self, images):
        self.batches.append(len(images))
        assert self.open.wait(20)
        light = np.clip(images.mean(axis=1) + 0.45, 0, 1)
        if any(abs(image[0, 0] - self.poison) < 0.01 for image in light):
            raise ValueError("poison")
        return light

    def detector(self) -> Detector:
        return Detector.of(self, Preprocess((SIDE, SIDE), "BGR"), DBPostprocessor())


def picture(boxes: int = 1, ground: int = 20, suffix: str = ".png") -> bytes:
    """An image file with light bars."""
    image = np.full((SIDE, SIDE, 3), ground, np.uint8)
    for number in range(boxes):
        cv2.rectangle(image, (8, 6 + 20 * number), (50, 14 + 20 * number), (255, 255, 255), -1)
    return cv2.imencode(suffix, image)[1].tobytes()


class Answer:
    """Status, headers and body of an answer."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Requests to one server."""

    def __init__(self, url: str) -> None:
        self.host = url.removeprefix("http://")

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, timeout=30)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = self.connection()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = Answer(connection.getresponse())
        connection.close()
        return answer

    def get(self, path: str) -> Answer:
        return self.send("GET", path)

    def detect(self, body: Any, **headers: str) -> Answer:
        return self.send("POST", "/detect", body, **headers)

    def form(self, files: list[tuple[str, bytes]]) -> Answer:
        body, headers = form(files)
        return self.send("POST", "/detect", body, **headers)

    def at_once(self, number: int, body: bytes) -> list[Answer]:
        with ThreadPoolExecutor(number) as pool:
            return list(pool.map(lambda _: self.detect(body), range(number)))

    def value(self, name: str) -> float:
        """A line of the metrics."""
        lines = self.get("/metrics").body.decode().splitlines()
        return next((float(x.rpartition(" ")[2]) for x in lines if x.startswith(f"{name} ")), 0.0)


def form(files: list[tuple[str, bytes]]) -> tuple[bytes, dict[str, str]]:
    """Body and content type of a form."""
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\n\r\n'.encode()
        + data
        + b"\r\n"
        for name, data in files
    ]
    return b"".join(parts) + b"--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}


@contextmanager
def serving(opens: Callable[[], Detector], **options: Any) -> Iterator[tuple[Client, Server]]:
    """A server that runs until the block ends; what its `run` raised is raised then."""
    server = Server("models/light.onnx", opens, **options)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(server.run)
        try:
            yield Client(server.url), server
        finally:
            server.stop()
            running.result(60)


def until(true: Callable[[], object]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)
