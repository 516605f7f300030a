"""One trial as a process of its own: what goes wrong in it stays in it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ocdnet.errors import UserError
from ocdnet.files import os_fault
from ocdnet.runs.files import STATUS
from ocdnet.runs.history import Epoch, history
from ocdnet.runs.printed import failure, kind_of
from ocdnet.runs.status import last_state

TRAIN = (sys.executable, "-m", "ocdnet.cli.main", "train")
"""What trains; the spec and its overrides follow."""
LOG, PRINTED = "log.txt", "train.json"
_LOCK = ".lock"
_POLL_SECONDS = 0.3
_GRACE_SECONDS = 60.0


@dataclass(frozen=True)
class Ended:
    """How a training process ended.

    Attributes:
        epochs: what each epoch measured.
        code: its exit code; 0 where it finished.
        stopped: why it was told to end; empty where it ended by itself.
        error: what it failed of.
    """

    epochs: list[Epoch]
    code: int
    stopped: str = ""
    error: UserError | None = None


@contextmanager
def held(folder: Path, patience: float = 0) -> Iterator[int | None]:
    """A lock on a trial's folder, as a file descriptor; None where another holds it.

    The training inherits it, so that it is free only when neither searcher nor training lives.

    Args:
        folder: made where it is not there.
        patience: seconds to wait for it.

    Raises:
        UserError: the folder can't be made or written, as `os_fault`.
    """
    path = folder / _LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise os_fault(error, path) from error
    try:
        end = time.monotonic() + patience
        while not (got := _locked(handle)) and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)
        yield handle if got else None
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def train(
    arguments: Sequence[str],
    folder: Path,
    lock: int,
    environment: Mapping[str, str],
    watch: Callable[[list[Epoch]], str],
) -> Ended:
    """Train in a process, and look at its status file until it ends.

    Args:
        arguments: the command line.
        folder: its results folder; log.txt in it takes what it tells, train.json what it prints.
        lock: the folder's lock.
        environment: its environment.
        watch: given all epochs so far, now and again; says why the process should end, if so.
    """
    with (folder / LOG).open("ab") as log, (folder / PRINTED).open("wb") as printed:
        process = subprocess.Popen(  # noqa: S603 - our own command line
            list(arguments),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C is the searcher's: it ends its trainings in order
        )
        try:
            stopped = _watched(process, folder, watch)
        finally:
            _end(process)
    epochs = epochs_of(folder)
    if stopped and process.returncode == 0:
        stopped = ""  # it was through before it heard
    failed = process.returncode != 0 and not stopped
    return Ended(
        epochs, process.returncode, stopped, _error(folder, process.returncode) if failed else None
    )


def epochs_of(folder: Path) -> list[Epoch]:
    """What a training's epochs measured so far."""
    return history(folder / STATUS).epochs


def finished(folder: Path) -> bool:
    """Whether a training came to its end."""
    return last_state(folder / STATUS) == "SUCCESS"


def _watched(
    process: subprocess.Popen[bytes], folder: Path, watch: Callable[[list[Epoch]], str]
) -> str:
    seen: tuple[int, int] | None = None
    epochs: list[Epoch] = []
    while process.poll() is None:
        now = _changed(folder / STATUS)
        if now != seen:
            seen, epochs = now, epochs_of(folder)
        why = watch(epochs)
        if why:
            return why
        time.sleep(_POLL_SECONDS)
    return ""


def _changed(path: Path) -> tuple[int, int] | None:
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_mtime_ns, info.st_size


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let it save and say that it was interrupted; then no longer."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def _error(folder: Path, code: int) -> UserError:
    """What the process said of its failure; of one that was killed, that it was."""
    try:
        printed = failure((folder / PRINTED).read_bytes(), code)
    except OSError:
        printed = None
    if printed is not None:
        return printed
    killed = code < 0
    error = UserError(
        "trial-died",
        f"The training was ended by signal {-code}"
        if killed
        else f"The training ended with exit code {code}",
        hint=f"See {folder / LOG}." + " Most often memory ran out." * killed,
    )
    error.exit_code = kind_of(code)
    return error
