"""The processes that Lightning starts, one a GPU; rank 0 outlives one that fails, to tell of it."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.distributed import _set_num_threads_if_needed
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from ocdnet.errors import Exit
from ocdnet.runs.status import StatusWriter, last_state

GRACE_SECONDS = 20.0
"""How long rank 0 has, once a process of its machine has failed, to end by itself."""
_LOOK_SECONDS = 1.0


def watch_children(trainer: pl.Trainer, status: StatusWriter) -> None:
    """Watch over what Lightning starts in our way; its own kills rank 0 without a word."""
    own = trainer.strategy.launcher
    if isinstance(own, _SubprocessScriptLauncher):
        trainer.strategy._launcher = _Launcher(own, status)


class _Launcher(_SubprocessScriptLauncher):
    def __init__(self, own: _SubprocessScriptLauncher, status: StatusWriter) -> None:
        super().__init__(own.cluster_environment, own.num_processes, own.num_nodes)
        self.status = status

    def launch(self, function: Any, *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        """Start the others, if no launcher has, and do this process's part."""
        self.cluster_environment.validate_settings(self.num_processes, self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            self._call_children_scripts()
            threading.Thread(target=_watch, args=(self.procs, self.status), daemon=True).start()
        _set_num_threads_if_needed(num_processes=self.num_processes)
        return function(*args, **kwargs)


def _watch(children: list[subprocess.Popen[bytes]], status: StatusWriter) -> None:
    """Until all have ended well; of one that did not, tell, and end everything."""
    while any(child.poll() is None for child in children):
        time.sleep(_LOOK_SECONDS)
        failed = next((child for child in children if child.returncode), None)
        if failed is None:
            continue
        time.sleep(GRACE_SECONDS)  # this thread ends with the process, which has heard by now
        for child in children:
            child.kill()
        if last_state(status.path) != "FAILURE":
            status.write("FAILURE", f"A process of the run ended with {failed.returncode}")
        os._exit(failed.returncode if failed.returncode > 0 else Exit.RUN)
