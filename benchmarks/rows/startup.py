"""Commands as processes: how long an agent waits for those that compute nothing."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from timing import Row

ROOT = Path(__file__).resolve().parents[2]
OCDNET = str(Path(sys.executable).with_name("ocdnet"))


def commands(rounds: int) -> Iterator[Row]:
    """`--help`, plan, status; and the `spec` commands, which read the config."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "train").mkdir()
        (Path(folder) / "train/status.json").write_text('{"status": "STARTED", "message": "x"}\n')
        light = (
            ["--help"],
            ["plan", "--action", "train", "--request", "no HPO"],
            ["status", folder],
        )
        heavier = (["spec", "explain", "train.num_epochs"], ["spec", "render", "train"])
        for group, least in ((light, 0.35), (heavier, 0.6)):
            for words in group:
                what = " ".join(word for word in words if word != folder)
                seconds = _median([OCDNET, *words], rounds)
                yield Row(f"ocdnet {what}", seconds, None, 1, least)


def generate(rounds: int) -> Iterator[Row]:
    """`make generate`, which writes what is there already."""
    seconds = _median(["make", "--silent", "-C", str(ROOT), "generate"], rounds)
    yield Row("make generate", seconds, None, 1, 2.0)


def _median(command: Sequence[str], rounds: int) -> float:
    """Median seconds of a process; the first run, which reads the disk, is left out."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])
