"""How this process's memory is kept from one step of a network on a CPU to the next, and shared."""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
"""Parameters of glibc's mallopt(3)."""


def keep_freed_memory() -> None:
    """Let this process keep what it frees: it stays as large as it was at its largest.

    glibc gives blocks above 32 MB back to the system at once, and the next step pays for each of
    their pages anew.
    """
    _tell(_MMAP_MAX, 0)
    _tell(_TRIM_THRESHOLD, -1)


def share_freed_memory() -> None:
    """Let the threads of this process, from now on, take memory from where any of them freed it.

    glibc has up to eight arenas a CPU, and what threads that come and go have freed in one is not
    used by those in others: a process that fetches pictures all day grows for hours.
    """
    _tell(_ARENA_MAX, 2)


def _tell(parameter: int, value: int) -> None:
    """Tell glibc, unless its own environment variables do: MALLOC_... and GLIBC_TUNABLES.

    Other C libraries go on as they do.
    """
    tuned = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if sys.platform != "linux" or tuned or any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(parameter, value)
