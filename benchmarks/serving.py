"""What does `ocdnet serve` do under load? Clients on loopback, against `Detector.stream`.

The stream and the server get the same pictures and the same machine; the clients share it, too.

    python benchmarks/serving.py detector.onnx --clients 64 --seconds 60
    python benchmarks/serving.py detector.onnx --serve --queue 8     # the rest goes to the server
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np

from ocdnet import Detector
from ocdnet.cli.shared import pixel_size

STREAMED = 200
"""Pictures of the stream's measurement, at least; it goes on for a tenth of the load's time."""


def pictures(number: int, side: int) -> list[bytes]:
    """JPEG files of words on a grey ground."""
    rng = np.random.default_rng(0)
    files = []
    for _ in range(number):
        image = rng.integers(40, 90, (side, side, 3), dtype=np.uint8)
        for word in range(8):
            at = rng.integers((0, side // 8), (side // 2, side)).tolist()
            cv2.putText(image, f"word{word}", at, 0, side / 300, (240, 240, 240), 1 + side // 160)
        files.append(cv2.imencode(".jpg", image)[1].tobytes())
    return files


def streamed(model: str, size: str | None, files: list[bytes], seconds: float) -> float:
    """Pictures a second of `Detector.stream`, at its best of two batch sizes."""
    best = 0.0
    pixels = pixel_size(size, "--size") if size else None
    with Detector(model, size=pixels) as detector:
        for batch in (1, 4):
            list(detector.stream(files))
            began, done = time.perf_counter(), 0
            while done < STREAMED and time.perf_counter() - began < seconds / 10:
                done += len(list(detector.stream(files, batch_size=batch)))
            best = max(best, done / (time.perf_counter() - began))
    return best


class Load:
    """Clients that send one picture after the other, each over a connection of its own."""

    def __init__(self, host: str, files: list[bytes], clients: int, seconds: float) -> None:
        self.statuses: Counter[str] = Counter()
        self.latencies: list[float] = []
        self._host, self._until = host, time.monotonic() + seconds
        threads = [
            threading.Thread(target=self._client, args=(list(islice(cycle(files), n, n + 7)),))
            for n in range(clients)
        ]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.seconds = time.perf_counter() - began

    def _client(self, files: list[bytes]) -> None:
        connection = http.client.HTTPConnection(self._host, timeout=120)
        for data in cycle(files):
            if time.monotonic() > self._until:
                break
            began = time.perf_counter()
            try:
                connection.request("POST", "/detect", data)
                response = connection.getresponse()
                response.read()
            except OSError as error:
                self.statuses[type(error).__name__] += 1
                connection.close()
                continue
            self.statuses[str(response.status)] += 1
            if response.status == 200:
                self.latencies.append(time.perf_counter() - began)
            else:
                time.sleep(0.1)
        connection.close()


def resident_mb(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--side", type=int, default=640, help="of a picture, in pixels")
    parser.add_argument("--size", help="of the network's input, as WxH")
    parser.add_argument("--serve", nargs=argparse.REMAINDER, default=[])
    asked = parser.parse_args()
    files = pictures(16, asked.side)
    result = {"cpus": os.cpu_count(), "load_before": os.getloadavg()[0]}
    result["stream_per_second"] = round(streamed(asked.model, asked.size, files, asked.seconds), 2)
    line = [sys.executable, "-m", "ocdnet", "serve", asked.model, "--port", "0"]
    line += [*(["--size", asked.size] if asked.size else []), *asked.serve]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            said = server.stderr.readline()
            host = said.rpartition("http://")[2].split()[0]
            Load(host, files, 2, 2.0)  # what is allocated once
            before = resident_mb(server.pid)
            load = Load(host, files, asked.clients, asked.seconds)
            after = resident_mb(server.pid)
        finally:
            server.send_signal(signal.SIGTERM)
            ended = json.loads(server.communicate(timeout=120)[0])
    result |= {
        "served_per_second": round(len(load.latencies) / load.seconds, 2),
        "statuses": dict(load.statuses),
        "p50_seconds": round(float(np.percentile(load.latencies, 50)), 3),
        "p99_seconds": round(float(np.percentile(load.latencies, 99)), 3),
        "resident_mb_before": round(before),
        "resident_mb_after": round(after),
        "exit_code": server.returncode,
        "server_counted": ended["requests"],
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
