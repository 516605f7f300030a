"""`ocdnet report` as a shell runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import results_folders as made

RUNTIME = Path(__file__).parents[2] / "runtime"


def report(*arguments, code=0, cwd=None):
    done = subprocess.run(
        [sys.executable, "-m", "ocdnet.cli.main", "report", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(RUNTIME)},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


def test_the_page_lies_in_the_folder_unless_told(tmp_path):
    made.train(tmp_path / "results" / "train")
    started = time.monotonic()
    told = report("results", cwd=tmp_path)
    assert time.monotonic() - started < 20  # 1 s on a quiet machine
    assert told["report"] == "results/report.html"
    assert (tmp_path / "results" / "report.html").read_text().startswith("<!doctype html>")
    elsewhere = tmp_path / "pages" / "mine.html"
    report(tmp_path / "results", "--out", elsewhere)
    assert elsewhere.is_file()


def test_a_page_is_replaced_and_told_again(tmp_path):
    made.train(tmp_path / "train")
    first = report(tmp_path)
    made.job(tmp_path / "export", "export", "model.onnx")
    assert len(report(tmp_path)["jobs"]) == len(first["jobs"]) + 1
    assert not list(tmp_path.glob(".*.tmp"))


def test_no_job_is_exit_4(tmp_path):
    assert report(tmp_path, code=4)["error"]["code"] == "no-job"
    assert report(tmp_path / "none", code=4)["error"]["code"] == "no-such-folder"


def test_several_runs_are_compared(tmp_path):
    for name in "ab":
        made.train(tmp_path / name / "train")
    told = report("a", "b", cwd=tmp_path)
    assert [run["name"] for run in told["runs"]] == ["A", "B"]
    assert told["bytes"] == (tmp_path / "comparison.html").stat().st_size
    assert report("a", "a", cwd=tmp_path, code=2)["error"]["code"] == "same-run"
