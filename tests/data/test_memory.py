"""Memory of a long run; the numbers of 10 epochs of 10,000 come from the same script."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="read from Linux's /proc")
def test_epochs_and_workers_do_not_add_up():
    root = Path(__file__).parents[2]
    # Short epochs take some until the workers' heaps have settled.
    done = subprocess.run(
        [sys.executable, root / "benchmarks/memory.py", "--images", "1000", "--epochs", "30"],
        env=os.environ | {"PYTHONPATH": str(root / "runtime")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
