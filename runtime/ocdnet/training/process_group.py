"""Processes of one run that a launcher started: they meet first, and fail together."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
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
"""How long a process waits for another one before it gives the run up."""
_FAILURE = "ocdnet/failure"
_LOST = ("gloo", "nccl", "connection", "timed out", "timeout", "store")
"""What torch's collectives say of a process that is gone or silent, in lower case."""


def cluster(run: Launched) -> ClusterEnvironment:
    """Lightning's view of a launcher; Slurm's jobs are requeued by their script."""
    if run.launcher == "srun":
        return SLURMEnvironment(auto_requeue=False)
    return TorchElasticEnvironment()


@contextmanager
def connected(devices: Devices) -> Iterator[None]:
    """Connect with the run's other processes, if a launcher has started them.

    What Lightning starts by itself it connects later, when rank 0 has prepared everything.

    Raises:
        RunError: they did not all come within TIMEOUT.
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
        distributed.init_process_group(
            backend,
            f"tcp://{place.main_address}:{place.main_port}",
            timeout=TIMEOUT,
            rank=run.rank,
            world_size=devices.world,
        )
    except distributed.DistError as error:
        raise _lost(error) from error
    yield
    distributed.destroy_process_group()


def by_rank_zero(act: Callable[[], None]) -> None:
    """Let rank 0 act before the others go on; the error it meets is everyone's."""
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


def shared(error: BaseException, status: StatusWriter) -> BaseException:
    """The error that ends the run: the first of any process, whichever this one met.

    The process that it befell writes it to status.json, also where it is not rank 0: that may be
    waiting for it, or be gone.
    """
    if not distributed.is_initialized():
        return error
    rank = distributed.get_rank()
    lost = not isinstance(error, UserError) and _is_loss(error)
    own: BaseException = _lost(error) if lost else error
    told = None
    with contextlib.suppress(RuntimeError):  # the store is gone with the process that holds it
        told = _first(own, rank)
    if told is not None and told["rank"] != rank:
        return _rebuilt(told)
    # Told to stop, all stop.
    alike = isinstance(own, KeyboardInterrupt | Interrupted)
    if rank and not alike and last_state(status.path) != "FAILURE":
        StatusWriter(status.path).write("FAILURE", str(own) or type(own).__name__)
    return own


def _first(own: BaseException, rank: int) -> dict[str, Any] | None:
    """What the first process to fail has told, or this one now tells the others."""
    store = distributed.distributed_c10d._get_default_store()
    if isinstance(own, KeyboardInterrupt):  # perhaps a launcher's, that ends all after one
        return json.loads(store.get(_FAILURE)) if store.check([_FAILURE]) else None
    fault = own
    if not isinstance(fault, UserError):
        fault = UserError("bug", f"{type(own).__name__}: {own}", hint="Please report this.")
    content = {"rank": rank, "exit_code": fault.exit_code, "error": fault.to_dict()}
    mine = json.dumps(content, default=str)
    told: dict[str, Any] = json.loads(store.compare_set(_FAILURE, "", mine))
    return told


def _rebuilt(told: dict[str, Any]) -> UserError:
    kinds: dict[int, type[UserError]] = {
        kind.exit_code: kind for kind in UserError.__subclasses__()
    }
    return kinds.get(told["exit_code"], UserError)(**told["error"])


def _is_loss(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in _LOST)


def _lost(error: BaseException) -> RunError:
    return RunError(
        "process-lost",
        "Another process of the run ended, or did not answer",
        got=str(error).strip().splitlines()[0][:200],
        hint="Its own output tells why. Killed without a word, it ran out of memory most often: "
        "lower dataset.train_dataset.loader.batch_size or num_workers.",
    )
