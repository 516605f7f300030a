"""What this machine computes on, found without importing torch."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path

_PROC = Path("/proc/driver/nvidia/gpus")
_CPUINFO = Path("/proc/cpuinfo")
_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""Flags of processors that compute in bfloat16: Intel's and AMD's, and Arm's."""
_TIMEOUT = 5.0


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
    try:
        with _CPUINFO.open(encoding="utf-8", errors="replace") as file:
            line = next((one for one in file if one.startswith(("flags", "Features"))), "")
    except OSError:
        # Apple's have them from the M2 on; elsewhere nothing says so.
        return platform.system() == "Darwin" and platform.machine() == "arm64"
    return not _BF16.isdisjoint(line.split())
