"""Skips where there is no GPU; full precision, and the CPU's cores shared among workers."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from gpu import device
from gpu.device import DEVICE
from ocdnet.hardware import cpus

LONG = ("compiled", "ddp", "fsdp", "deepspeed", "memory_that", "evaluate")
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each worker of pytest-xdist begin with a long test: it hands out rows of so many."""
    if WORKERS == 1 or not all(item.get_closest_marker("gpu") for item in items):
        return
    row = max(2, len(items) // (4 * WORKERS))
    long = [item for item in items if any(word in item.name for word in LONG)]
    items[:] = [item for item in items if item not in long]
    for number, item in enumerate(long):
        items.insert(number * row, item)


@pytest.fixture(scope="session", autouse=True)
def _device() -> None:
    """Before the session's other fixtures, which would train in vain."""
    if DEVICE == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    torch.set_num_threads(max(1, cpus() // WORKERS))


@pytest.fixture(autouse=True)
def _full_precision() -> Iterator[None]:
    """TF32 keeps 10 bits of a float32; what a test or a Trainer sets is undone, too."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    flags = [(matmul, "allow_tf32"), *((cudnn, n) for n in ("allow_tf32", "benchmark"))]
    flags.append((cudnn, "deterministic"))
    before = [getattr(owner, name) for owner, name in flags]
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    yield
    for (owner, name), value in zip(flags, before, strict=True):
        setattr(owner, name, value)


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """See `device.steady`."""
    device.steady(monkeypatch)
