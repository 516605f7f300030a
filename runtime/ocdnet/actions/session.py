"""The frame around every action: its folder, its resolved spec, its first and last status line."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import resource_sharer
from pathlib import Path

from ocdnet.backends.maps import REFUSED
from ocdnet.catalogue import ACTIONS
from ocdnet.config import spec
from ocdnet.config.spec import Loaded
from ocdnet.data.reading import pixel_limit
from ocdnet.errors import DataError, RunError, UserError, out_of_memory
from ocdnet.files import disk_full, write_text
from ocdnet.findings import Findings, collected, collecting, say
from ocdnet.ranks import is_rank_zero
from ocdnet.runs.files import EXPERIMENT, REPORT, STATUS
from ocdnet.runs.outputs import Outputs
from ocdnet.runs.status import STARTING, StatusWriter, WarningLines, last_state
from ocdnet.runs.typed import Warned, warned
from ocdnet.spec_keys import TRAIN_WORKERS
from ocdnet.training.folder_lock import locked_folder

LOG = logging.getLogger("ocdnet")


@dataclass(frozen=True)
class Session:
    """Where an action writes.

    Attributes:
        folder: the action's results folder.
        status: its status.json.
        findings: what it saw so far.
    """

    folder: Path
    status: StatusWriter
    findings: Findings

    @property
    def warnings(self) -> tuple[Warned, ...]:
        """What it saw so far, as results have it."""
        return tuple(map(warned, self.findings.rows()))


FirstError = Callable[[BaseException, StatusWriter], BaseException]


def _own_error(error: BaseException, _: StatusWriter) -> BaseException:
    return error


@contextmanager
def session(
    loaded: Loaded,
    first_error: FirstError = _own_error,
    *,
    writes: Iterable[str] = (),
    renews: bool = False,
) -> Iterator[Session]:
    """Run an action's body; rank 0 writes STARTED before it, SUCCESS or FAILURE after it.

    Args:
        loaded: the action's spec.
        first_error: from the error of this process to the one that ends the run: another process
            may have failed before, and have written its FAILURE.
        writes: names of the files that the action writes into its folder, as far as they are known.
        renews: whether it replaces an earlier run of the same action in that folder, whose files go
            as the first new one comes.

    Raises:
        SpecError: a file is there that no run of this action made; nothing is written then.
        UserError: what the body raised, or what its error means: out of memory, disk full.
    """
    folder = spec.results_dir(loaded.experiment, loaded.action)
    status = StatusWriter(folder / STATUS, enabled=is_rank_zero())
    with ExitStack() as stack:
        if is_rank_zero():
            outputs = outputs_of(loaded, renews)
            if outputs.checks:
                outputs.refuse_others([*own_files(loaded.action), *writes])
            if renews:
                stack.enter_context(locked_folder(folder / STATUS))
                status.clear()
            stack.enter_context(outputs.recorded())
            store_spec(loaded)
        status.write("STARTED", f"{STARTING} {loaded.action}.")
        yield from _watched(loaded, status, first_error)
        status.write("SUCCESS", f"{loaded.action} finished successfully.")


def store_spec(loaded: Loaded) -> None:
    """Write the resolved spec into the action's folder, in rank 0; again where it was changed."""
    if is_rank_zero():
        folder = spec.results_dir(loaded.experiment, loaded.action)
        write_text(folder / EXPERIMENT, spec.to_yaml(spec.dump(loaded)))


def outputs_of(loaded: Loaded, renews: bool = False) -> Outputs:
    """What an action may write into its folder."""
    folder, entry = spec.results_dir(loaded.experiment, loaded.action), ACTIONS[loaded.action]
    return Outputs(folder, entry.section, renews=renews, checks=not entry.trains)


def own_files(action: str) -> list[str]:
    """Names of what every run of an action writes."""
    return [EXPERIMENT, STATUS, *([REPORT] if ACTIONS[action].page else [])]


def _watched(loaded: Loaded, status: StatusWriter, first_error: FirstError) -> Iterator[Session]:
    """The session itself; what it saw stands in its status when it ends."""
    megapixels = pixel_limit(loaded.experiment.max_megapixels)
    with megapixels, _findings() as findings, _warning_lines(status):
        for notice in loaded.notices:
            LOG.warning(notice)
        with _ended(loaded, status, first_error):
            try:
                yield Session(status.path.parent, status, findings)
            finally:
                _write(findings, status)


@contextmanager
def _findings() -> Iterator[Findings]:
    """The collection of whoever runs the action, who says it; else one of its own."""
    outer = collected()
    if outer is not None:
        yield outer
        return
    with collecting() as findings:
        try:
            yield findings
        finally:
            say(findings)


@contextmanager
def _warning_lines(status: StatusWriter) -> Iterator[None]:
    """What is logged as a warning is a line of the status, and a finding."""
    lines = WarningLines(status)
    LOG.addHandler(lines)
    try:
        yield
    finally:
        LOG.removeHandler(lines)


def _write(findings: Findings, status: StatusWriter) -> None:
    """A line for each finding that has none yet."""
    for row in findings.rows():
        if not row.said:
            status.write("RUNNING", row.text, verbosity="WARNING", warnings=(warned(row),))


@contextmanager
def _ended(loaded: Loaded, status: StatusWriter, first_error: FirstError) -> Iterator[None]:
    """The last line of a run that fails."""
    try:
        yield
    except BaseException as error:
        failure = first_error(_explained(error, loaded.action), status)
        if last_state(status.path) != "FAILURE":
            status.write("FAILURE", _message(failure))
        if failure is error:
            raise
        raise failure from error


@contextmanager
def remedied(action: str) -> Iterator[None]:
    """Let errors say what the user can do, for what runs as an action does but has no folder."""
    try:
        yield
    except Exception as error:
        failure = _explained(error, action)
        if failure is error:
            raise
        raise failure from error


def _message(failure: BaseException) -> str:
    if isinstance(failure, KeyboardInterrupt):
        return "interrupted"
    return str(failure) or type(failure).__name__


def _explained(error: BaseException, action: str) -> BaseException:
    """A UserError where the user can remove the cause, else the error itself."""
    if isinstance(error, UserError):
        if error.code == REFUSED and error.hint is None:
            keys = ACTIONS[action].network_input
            error.hint = f"Its file may fix size or batch: change {keys}, or export it again."
        return error
    if out_of_memory(error):
        return _out_of_memory(error, action)
    death = next(filter(_is_workers_death, _causes(error)), None)
    if death is not None:
        return RunError(
            "worker-died",
            "A process that prepares samples died",
            got=(str(death) or type(death).__name__)[:200],
            hint=f"Most often memory ran out: lower {TRAIN_WORKERS} or batch_size; in a container, "
            "raise --shm-size.",
        )
    return cannot_read(error) or disk_full(error) or error


def cannot_read(error: BaseException) -> DataError | None:
    """The UserError of an error that says that a file may not be read; else None."""
    if not isinstance(error, PermissionError) or not error.filename:
        return None
    return DataError(
        "cannot-read",
        f"This user may not read {error.filename}",
        expected="a file that may be read, in folders that may be entered",
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and the chain of errors that caused it."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _is_workers_death(error: BaseException) -> bool:
    """Whether an error says that a data worker died.

    Torch raises it in a signal handler, so that any code it interrupts may wrap it in another one.
    A worker that dies while it hands over a sample breaks the connection even before that.
    """
    if isinstance(error, ConnectionError | EOFError | FileNotFoundError):
        frames = traceback.walk_tb(error.__traceback__)
        return any(frame.f_code.co_filename == resource_sharer.__file__ for frame, _ in frames)
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker")


def _out_of_memory(error: BaseException, action: str) -> RunError:
    device = "cuda" in str(error).lower()
    entry, more = ACTIONS[action], ""
    if entry.trains:
        more = " Or set train.precision=bf16." if device else f" Or lower {TRAIN_WORKERS}."
    # A data worker's error has its traceback as text; the last line says what happened.
    lines = str(error).strip().splitlines()
    return RunError(
        "out-of-memory",
        f"The {'GPU' if device else 'machine'} ran out of memory",
        got=lines[-1][:200] if lines else None,
        hint=f"Lower {entry.less_memory}.{more}",
    )
