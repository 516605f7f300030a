"""`ocdnet data extract` as a process."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

RUNTIME = Path(__file__).parents[2] / "runtime"
HEAVY = {"torch", "numpy", "cv2", "pydantic", "jsonschema", "jinja2", "rich", "PIL"}


def command(*arguments, python=("-m", "ocdnet.cli.main")):
    return [sys.executable, *python, "data", "extract", *map(str, arguments)]


def run(*arguments, cwd=None):
    return subprocess.run(
        command(*arguments),
        env=os.environ | {"PYTHONPATH": str(RUNTIME)},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "train.zip"
    with zipfile.ZipFile(path, "w") as bundle:
        for number in range(3):
            bundle.writestr(f"train/img/{number}.jpg", os.urandom(1000))
            bundle.writestr(f"train/gt/gt_{number}.txt", "")
    return path


def test_it_prints_where_the_data_is(archive, tmp_path):
    done = run("train.zip", "--out", "data/train", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "out": "data/train",
        "files": 6,
        "bytes": 3000,
        "data_path": "data/train",
        "images": 3,
    }
    assert "unpacking: 100/100" in done.stderr
    again = run("train.zip", "--out", "data/train", cwd=tmp_path)
    assert again.returncode == 2
    assert json.loads(again.stdout)["error"]["code"] == "output-exists"


def test_a_refusal_is_json_with_exit_4(tmp_path):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as bundle:
        info = tarfile.TarInfo("../caf\udce9")
        bundle.addfile(info, io.BytesIO())
    done = run(tmp_path / "a.tar.gz", "--out", tmp_path / "out")
    assert done.returncode == 4
    assert json.loads(done.stdout)["error"]["code"] == "unsafe-member"
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz"]


@pytest.mark.parametrize("limit", [["--max-gb", "0"], ["--max-gb", "nan"], ["--max-files", "0"]])
def test_limits_that_are_none(archive, tmp_path, limit):
    done = run(archive, "--out", tmp_path / "out", *limit)
    assert done.returncode == 2
    assert limit[0] in json.loads(done.stdout)["error"]["message"]


def test_what_it_imports_is_light(archive, tmp_path):
    code = (
        "import sys; from ocdnet.cli.main import cli; cli(sys.argv[1:], standalone_mode=False);"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        command(archive, "--out", tmp_path / "out", python=("-c", code)),
        env=os.environ | {"PYTHONPATH": str(RUNTIME)},
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(done.stderr.splitlines()[-1].split())
    assert "ocdnet.data.archives" in imported
    assert not imported & HEAVY
    assert not any(name.startswith("ocdnet.config") for name in imported)


def test_an_interrupt_leaves_nothing(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as bundle:
        for number in range(30_000):
            bundle.writestr(f"img/{number}.jpg", b"x")
    running = subprocess.Popen(
        command(tmp_path / "a.zip", "--out", tmp_path / "out"),
        env=os.environ | {"PYTHONPATH": str(RUNTIME)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs, and some test runners, ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )
    deadline = time.monotonic() + 20
    while not any(tmp_path.glob(".ocdnet-*/*/*/*1.jpg")) and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    assert running.returncode == 130, err
    assert json.loads(out)["error"]["code"] == "interrupted"
    assert "resume" not in out
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]
