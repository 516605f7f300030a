"""The processes of one run: they connect before all else, and end with one common error."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import torch
from pytorch_lightning.plugins.environments import (
    ClusterEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from torch import distributed

from ocdnet.devices import Devices
from ocdnet.errors import Interrupted, RunError, UserError
from ocdnet.ranks import Launched, is_rank_zero, launched
from ocdnet.runs.status import StatusWriter, last_state

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for another one before it gives up."""
_STEP_SECONDS = 0.5
_FAILURE = "ocdnet/failure"
_LOST = ("gloo", "nccl", "connection", "timed out", "timeout", "store")
"""Words, in lower case, of torch's errors about a process that is gone or silent."""


def cluster(run: Launched) -> ClusterEnvironment:
    """What tells Lightning rank and address. Slurm jobs are requeued by their own script."""
    if run.launcher == "srun":
        return SLURMEnvironment(auto_requeue=False)
    return TorchElasticEnvironment()


@contextmanager
def connected(devices: Devices) -> Iterator[None]:
    """Connect with the run's other processes, if a launcher has started them.

    Processes that Lightning starts are connected by it later, once rank 0 has prepared the run.

    Raises:
        RunError: not all of them connected within TIMEOUT.
    """
    run = launched()
    if run is None or devices.world == 1:
        yield
        return
    place = cluster(run)
    backend = "gloo"
    if devices.gpus:
        backend = "nccl"
        torch.cuda.set_device(devices.gpus[run.local_rank])
    try:
        _heard(
            partial(
                distributed.init_process_group,
                backend,
                f"tcp://{place.main_address}:{place.main_port}",
                timeout=TIMEOUT,
                rank=run.rank,
                world_size=devices.world,
            )
        )
    except distributed.DistError as error:
        raise _lost(error) from error
    yield
    distributed.destroy_process_group()


def _heard(wait: Callable[[], None]) -> None:
    """Call what waits for others in a thread: in the main one no signal would be heard."""
    outcome: Future[None] = Future()

    def work() -> None:
        try:
            outcome.set_result(wait())  # type: ignore[func-returns-value]
        except BaseException as error:  # noqa: BLE001 - the caller raises it
            outcome.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    while not outcome.done():
        with contextlib.suppress(FutureTimeout):
            outcome.exception(timeout=_STEP_SECONDS)
    outcome.result()


def by_rank_zero(act: Callable[[], None]) -> None:
    """Call `act` on rank 0 while the others wait; they raise the UserError that it raises."""
    outcome: list[UserError | None] = [None]
    if is_rank_zero():
        try:
            act()
        except UserError as error:
            outcome = [error]
    if distributed.is_initialized():
        distributed.broadcast_object_list(outcome)
    if outcome[0] is not None:
        raise outcome[0]


def first_error(error: BaseException, status: StatusWriter) -> BaseException:
    """The error that ends the run: the first one of any process, given the error of this one.

    The process that failed first writes it to status.json, even if it is not rank 0, which may
    still be waiting for that process, or be gone.
    """
    if not distributed.is_initialized():
        return error
    rank = distributed.get_rank()
    lost = not isinstance(error, UserError) and _is_loss(error)
    own: BaseException = _lost(error) if lost else error
    first = None
    with contextlib.suppress(RuntimeError):  # the store is gone with the process that holds it
        first = _announced(own, rank)
    if first is not None and first["rank"] != rank:
        return _rebuilt(first)
    # A stop request reaches every process: rank 0 reports it.
    stopped = isinstance(own, KeyboardInterrupt | Interrupted)
    if rank and not stopped and last_state(status.path) != "FAILURE":
        StatusWriter(status.path).write("FAILURE", str(own) or type(own).__name__)
    return own


def _announced(own: BaseException, rank: int) -> dict[str, Any] | None:
    """The failure in the store that all processes share; if there is none, this process's."""
    store = distributed.distributed_c10d._get_default_store()
    # Ctrl-C is never announced: a launcher interrupts all processes once one has failed.
    if isinstance(own, KeyboardInterrupt):
        return json.loads(store.get(_FAILURE)) if store.check([_FAILURE]) else None
    fault = own
    if not isinstance(fault, UserError):
        fault = UserError("bug", f"{type(own).__name__}: {own}", hint="Please report this.")
    content = {"rank": rank, "exit_code": fault.exit_code, "error": fault.to_dict()}
    # Sets the key only if it is empty, and returns its value: of two failures one is the first.
    first: dict[str, Any] = json.loads(
        store.compare_set(_FAILURE, "", json.dumps(content, default=str))
    )
    return first


def _rebuilt(failure: dict[str, Any]) -> UserError:
    kinds: dict[int, type[UserError]] = {
        kind.exit_code: kind for kind in UserError.__subclasses__()
    }
    return kinds.get(failure["exit_code"], UserError)(**failure["error"])


def _is_loss(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in _LOST)


def _lost(error: BaseException) -> RunError:
    return RunError(
        "process-lost",
        "Another process of the run ended, or did not answer",
        got=str(error).strip().splitlines()[0][:200],
        hint="Its own output says why. If it was killed without a message, memory most likely ran "
        "out: lower dataset.train_dataset.loader.batch_size or num_workers.",
    )
