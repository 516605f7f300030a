"""What this machine computes on, found without importing torch."""

from __future__ import annotations

import math
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

_PROC = Path("/proc/driver/nvidia/gpus")
_CPUINFO = Path("/proc/cpuinfo")
_SELF = Path("/proc/self")
_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""Flags of processors that compute in bfloat16: Intel's and AMD's, and Arm's."""
_VNNI = {"avx512_vnni", "avx_vnni", "amx_int8"}
"""Flags of x86 processors that add products of bytes in 32 bits."""
_TIMEOUT = 5.0
_limits: list[int] = []


def cpus() -> int:
    """Threads that this process should compute with: OMP_NUM_THREADS and `limited` lower it."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    asked = [int(first)] if first.isascii() and first.isdigit() and int(first) > 0 else []
    return min([machine_cpus(), *asked, *_limits])


def machine_cpus() -> int:
    """CPUs that this process may use: those it may run on, within its container's quota."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    quotas = (_quota(folder) for folder in _cgroups())
    return min([allowed, *(max(1, math.ceil(quota)) for quota in quotas if quota is not None)])


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Let `cpus` be at most so many within; 0 sets no limit."""
    _limits.extend([threads] if threads else [])
    try:
        yield
    finally:
        if threads:
            _limits.remove(threads)


def _cgroups() -> Iterator[Path]:
    """Folders of the control groups (v1 and v2) that may limit this process's CPUs."""
    try:
        groups = (_SELF / "cgroup").read_text("utf-8", errors="replace").splitlines()
        mounts = (_SELF / "mountinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return
    paths: dict[str, str] = {}  # of v2 by "", of v1 by "cpu"
    for line in groups:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if not controllers or "cpu" in controllers.split(","):
            paths["cpu" if controllers else ""] = path
    for line in mounts:
        fields, _, kind = line.partition(" - ")
        words, kinds = fields.split(), kind.split()
        if len(words) < 5 or len(kinds) < 3 or not kinds[0].startswith("cgroup"):
            continue
        version = "" if kinds[0] == "cgroup2" else "cpu"
        if version in paths and (not version or "cpu" in kinds[2].split(",")):
            yield from _up(Path(words[4]), words[3], paths[version])


def _up(mount: Path, root: str, path: str) -> Iterator[Path]:
    """A group's folder and those above it, whose quotas hold, too; root is what mount shows."""
    inside = os.path.relpath(path, root)  # in a container the path may be the host's
    parts = [] if inside.startswith("..") else [part for part in inside.split("/") if part != "."]
    for depth in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:depth])


def _quota(folder: Path) -> float | None:
    """CPUs that a control group may use; None: as many as there are."""
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (folder / "cpu.max").read_text("ascii").split()
        return None if quota == "max" else float(quota) / float(period)
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota = (folder / "cpu.cfs_quota_us").read_text("ascii")
        period = (folder / "cpu.cfs_period_us").read_text("ascii")
        return float(quota) / float(period) if float(quota) > 0 else None
    return None


def gpus() -> int:
    """CUDA devices that a process of this user sees: NVIDIA's driver is asked, not CUDA."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return 0
    present = _present()
    return present if visible is None else min(present, len(visible.split(",")))


@cache
def _present() -> int:
    if _PROC.is_dir():
        return sum(1 for _ in _PROC.iterdir())
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    try:
        done = subprocess.run(  # noqa: S603 - found on the PATH, as doctor asks it
            [program, "-L"], capture_output=True, text=True, check=False, timeout=_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())


@cache
def has_bf16() -> bool:
    """Whether the processor has instructions for bfloat16; without them it is slower than fp32."""
    flags = _flags()
    if flags is None:
        # Apple's have them from the M2 on; elsewhere nothing says so.
        return platform.system() == "Darwin" and platform.machine() == "arm64"
    return not _BF16.isdisjoint(flags)


@cache
def int8_overflows() -> bool:
    """Whether int8 layers overflow unless their weights have 7 bits.

    An x86 CPU without VNNI adds products of two pairs of bytes in 16 bits (vpmaddubsw), which
    saturates.
    """
    flags = _flags()
    x86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")
    return x86 and (flags is None or _VNNI.isdisjoint(flags))


def _flags() -> set[str] | None:
    """The processor's instruction sets; None where nothing says so."""
    try:
        with _CPUINFO.open(encoding="utf-8", errors="replace") as file:
            line = next((one for one in file if one.startswith(("flags", "Features"))), "")
    except OSError:
        return None
    return set(line.split())
