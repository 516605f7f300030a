"""Long work tells how far it is where nobody sees a bar."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from ocdnet import progress_bar

COUNT = """
from ocdnet.progress_bar import tracked
assert list(tracked(range(40), "scoring", 40)) == list(range(40))
"""


def test_every_tenth_is_a_line(capsys):
    assert list(progress_bar.tracked(range(40), "scoring", 40)) == list(range(40))
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [f"scoring: {4 * n}/40" for n in range(1, 11)]


def test_slow_work_is_told_more_often(monkeypatch, capsys):
    monkeypatch.setattr(progress_bar, "QUIET_SECONDS", -1.0)
    assert list(progress_bar.tracked(range(40), "scoring", 40)) == list(range(40))
    assert len(capsys.readouterr().err.splitlines()) == 40


def test_nothing_to_do_is_nothing_to_tell(capsys):
    assert list(progress_bar.tracked([], "scoring", 0)) == []
    assert capsys.readouterr().err == ""


def test_an_error_passes_through():
    def broken():
        yield 1
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        list(progress_bar.tracked(broken(), "scoring", 2))


def test_a_terminal_sees_a_bar_on_stderr():
    primary, secondary = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", COUNT],
        stderr=secondary,
        stdout=subprocess.PIPE,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
        check=False,
        timeout=60,
    )
    os.close(secondary)
    shown = os.read(primary, 100_000).decode()
    os.close(primary)
    assert done.returncode == 0, shown
    assert done.stdout == b""
    assert "40/40" in shown
    assert "scoring: 4/40" not in shown
