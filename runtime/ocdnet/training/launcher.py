"""Starts one process a GPU, as Lightning does, and reports one that fails."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from ocdnet.errors import Exit
from ocdnet.hardware import machine_cpus
from ocdnet.runs.status import StatusWriter, last_state

GRACE_SECONDS = 20.0
"""Time for rank 0 to end with its own error, once another process of its machine has failed."""
_POLL_SECONDS = 1.0


def watch_children(trainer: pl.Trainer, status: StatusWriter) -> None:
    """Replace Lightning's launcher, which kills rank 0 without a word when a process fails."""
    lightnings = trainer.strategy.launcher
    if isinstance(lightnings, _SubprocessScriptLauncher):
        trainer.strategy._launcher = _Launcher(lightnings, status)


class _Launcher(_SubprocessScriptLauncher):
    def __init__(self, replaced: _SubprocessScriptLauncher, status: StatusWriter) -> None:
        super().__init__(replaced.cluster_environment, replaced.num_processes, replaced.num_nodes)
        self.status = status

    def launch(self, function: Any, *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        """Start the other processes, unless a launcher has, and call `function` in this one."""
        self.cluster_environment.validate_settings(self.num_processes, self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            self._call_children_scripts()
            threading.Thread(target=_watch, args=(self.procs, self.status), daemon=True).start()
        if "OMP_NUM_THREADS" not in os.environ:  # else each process has what was asked for
            torch.set_num_threads(max(1, machine_cpus() // self.num_processes))
        return function(*args, **kwargs)


def _watch(children: list[subprocess.Popen[bytes]], status: StatusWriter) -> None:
    """Wait until all have succeeded; if one fails, report it and end the whole run."""
    while any(child.poll() is None for child in children):
        time.sleep(_POLL_SECONDS)
        failed = next((child for child in children if child.returncode), None)
        if failed is None:
            continue
        # Rank 0 mostly fails in this time, too, with a better message; this thread dies with it.
        time.sleep(GRACE_SECONDS)
        for child in children:
            child.kill()
        if last_state(status.path) != "FAILURE":
            status.write("FAILURE", f"A process of the run ended with {failed.returncode}")
        os._exit(failed.returncode if failed.returncode > 0 else Exit.RUN)
