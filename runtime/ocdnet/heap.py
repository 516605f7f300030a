"""How this process's memory is kept from one step of a network on a CPU to the next."""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Parameters of glibc's mallopt(3)."""


def keep_freed_memory() -> None:
    """Let this process keep what it frees: it stays as large as it was at its largest.

    glibc gives blocks above 32 MB back to the system at once, and the next step pays for each of
    their pages anew. Other C libraries go on as they do, and so does a glibc whose own environment
    variables say what to do: MALLOC_... (not MALLOC_ARENA_MAX) and GLIBC_TUNABLES.
    """
    tuned = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    tuned |= any(name.startswith("MALLOC_") for name in os.environ.keys() - {"MALLOC_ARENA_MAX"})
    if sys.platform != "linux" or tuned:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
