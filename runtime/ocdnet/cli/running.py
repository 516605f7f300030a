"""Runs one action of the registry for the command line."""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from ocdnet.catalogue_entry import Action
from ocdnet.cli.shared import program
from ocdnet.config import spec
from ocdnet.config.spec import Loaded
from ocdnet.errors import UserError
from ocdnet.findings import collecting, say
from ocdnet.ranks import is_rank_zero
from ocdnet.runs.files import STATUS
from ocdnet.runs.status import last_state
from ocdnet.runs.typed import Result

LOG = logging.getLogger("ocdnet")


def run_action(action: Action, spec_file: Path, overrides: Sequence[str]) -> Result:
    """What an action came to; its logs, and whatever libraries print, go to stderr.

    Training and evaluation leave a report, also where they fail.

    Raises:
        UserError: as the action.
    """
    log_to_stderr()
    loaded = spec.load(action.name, spec_file, overrides)
    module, _, function = action.run.partition(":")
    with contextlib.redirect_stdout(sys.stderr), collecting() as findings:
        run = getattr(_imported(module), function)
        try:
            with reported(action, loaded):
                result: Result = run(loaded)
        finally:
            say(findings)
    return result


def _imported(name: str) -> ModuleType:
    """The module; what it imports takes four fifths of the time if nothing looks for garbage."""
    if name in sys.modules:
        return sys.modules[name]
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()  # what is there stays: nothing looks through it later, either
        gc.enable()


@contextlib.contextmanager
def reported(action: Action, loaded: Loaded) -> Iterator[None]:
    """Leave a report of the action's folder behind, also where the action fails."""
    try:
        yield
    except BaseException:
        _finish_undisturbed()
        _report(action, loaded, after="FAILURE")
        raise
    _finish_undisturbed()
    _report(action, loaded, after="SUCCESS")


def _finish_undisturbed() -> None:
    """A launcher that ends all its processes after one must not cut off what they have to say."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _report(action: Action, loaded: Loaded, after: str) -> None:
    """Write the folder's page, unless the action was refused: the folder may be another run's."""
    folder = spec.results_dir(loaded.experiment, loaded.action)
    ended = is_rank_zero() and last_state(folder / STATUS) == after
    if action.page and ended:
        write_page(folder)


def write_page(folder: Path) -> None:
    """Write a folder's page; a run whose page can't be written has not failed for that."""
    from ocdnet.report.page import write_report
    from ocdnet.runs.files import REPORT
    from ocdnet.runs.outputs import refuse_page

    try:
        refuse_page(folder / REPORT)
        written = write_report(folder, folder / REPORT, program())
    except UserError as error:
        LOG.warning("No report: %s", error)
        return
    LOG.info("Report: %s", written["report"])


def log_to_stderr() -> None:
    """Let our own lines of progress be seen, of the other ranks their errors alone."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    LOG.setLevel(logging.INFO if is_rank_zero() else logging.ERROR)
