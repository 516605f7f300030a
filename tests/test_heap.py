"""A process that keeps what it frees takes the same memory again without a page fault."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch

import processes
import support
from ocdnet.actions import train
from ocdnet.backends import open as backends

WORK = """
import ctypes, resource, sys
from ocdnet import heap
if sys.argv[1] == "kept":
    heap.keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def step():
    blocks = [libc.malloc(64 << 20) for _ in range(3)]
    for block in blocks:
        libc.memset(block, 1, 64 << 20)
    for block in blocks:
        libc.free(block)
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
LEAST = 9 * 32
"""Faults of nine blocks whose pages are of 2 MB, the largest that come unasked."""


def faults(how: str, **environment: str) -> int:
    command = [sys.executable, "-c", WORK, how]
    env = processes.environment(**environment)
    return int(subprocess.run(command, env=env, check=True, capture_output=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_what_is_freed_is_kept():
    assert faults("kept") < LEAST / 10
    assert faults("as it comes") >= LEAST


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MALLOC_MMAP_THRESHOLD_", str(1 << 20)),
        ("GLIBC_TUNABLES", f"glibc.malloc.mmap_threshold={1 << 20}"),
    ],
)
def test_glibcs_own_variables_come_first(name, value):
    assert faults("kept", **{name: value}) >= LEAST


@pytest.mark.skipif(torch.cuda.is_available(), reason="for trainings on a CPU")
@pytest.mark.usefixtures("small_network")
def test_trainings_and_evaluations_of_checkpoints_keep(
    scenes, detector, detector_onnx, tmp_path, monkeypatch
):
    kept = []
    monkeypatch.setattr(train, "keep_freed_memory", lambda: kept.append("train"))
    monkeypatch.setattr(backends, "keep_freed_memory", lambda: kept.append("evaluate"))
    support.train(scenes, tmp_path / "trained", "train.is_dry_run=true")
    support.evaluate(scenes / "test", detector, tmp_path / "by torch")
    support.evaluate(scenes / "test", detector_onnx, tmp_path / "by ONNX Runtime")
    assert kept == ["train", "evaluate"]
