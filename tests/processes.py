"""Runs of several real processes on the CPU, for the tests: torchrun and what it starts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import support

TESTS = Path(__file__).parent
SCRIPT = str(TESTS / "small_ocdnet.py")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
STANDALONE = [*TORCHRUN, "--standalone", "--nproc-per-node=2", SCRIPT]
CHANGES = "OCDNET_TEST_CHANGES"
"""Variable in which SCRIPT finds the names of its changes, with spaces."""
PLAIN = [sys.executable, SCRIPT]


def environment(before: str = "", **more: str) -> dict[str, str]:
    """Of a process that finds `support` and `ocdnet`; `before` names changes of changes.py."""
    given = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join([str(TESTS), str(TESTS.parent / "runtime"), *filter(None, [given])])
    own = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", CHANGES: before}
    return os.environ | own | more


@contextmanager
def training(
    launcher: list[str], scenes: Path, out: Path, *overrides: str, before: str = "", **more: str
) -> Iterator[subprocess.Popen[str]]:
    """`ocdnet train` under a launcher; nothing of it outlives the block."""
    out.mkdir(exist_ok=True, parents=True)
    spec = out / "spec.yaml"
    spec.write_text("")
    command = [*launcher, "train", "-e", str(spec), *support.train_overrides(scenes, out)]
    process = subprocess.Popen(
        [*command, *overrides],
        env=environment(before, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        for child in workers(out):
            os.kill(child, signal.SIGKILL)
        process.communicate()


def trained(
    launcher: list[str], scenes: Path, out: Path, *overrides: str, before: str = "", **more: str
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a run that ends by itself."""
    with training(launcher, scenes, out, *overrides, before=before, **more) as process:
        text, errors = process.communicate(timeout=150)
        return process.returncode, text, errors


def workers(out: Path) -> dict[int, int]:
    """Process id -> rank of the run's living processes that write below a folder."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            variables = (entry / "environ").read_bytes().split(b"\0") if words else []
        except OSError:
            continue
        mine = SCRIPT.encode() in words[:3] and f"results_dir={out}".encode() in words
        if mine:
            values = dict(line.split(b"=", 1) for line in variables if b"=" in line)
            rank = values.get(b"RANK", values.get(b"LOCAL_RANK", b"0"))
            found[int(entry.name)] = int(rank)
    return found


def process_of(out: Path, rank: int) -> int:
    """Process id of one rank."""
    return next(pid for pid, own in workers(out).items() if own == rank)


def wait_until(true: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Until something holds, while the process lives."""
    end = time.monotonic() + 120
    while not true():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
