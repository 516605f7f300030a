"""Partitions through Ray Data: it places, retries, grows the pool, and shows progress."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.exceptions import RayError

import ocdnet
from ocdnet import errors
from ocdnet.actions.session import remedied
from ocdnet.errors import EnvironmentFault, RunError, UserError
from ocdnet.install import missing_package
from ocdnet.scale.plan import Partition
from ocdnet.scale.work import Work

_MOST_BLOCKS = 10_000
"""Of Ray's, which keeps some kilobytes of each on the driver; then each has several partitions."""
_TRIES = 6
"""Of a partition whose process dies, with a node or of a picture: Ray itself would never end."""
_MOST_LOST = 10
"""Partitions that no try could do; more are no fault of single pictures, and end the run."""
_SHOWN = 3
_ENVIRONMENT = {"MALLOC_ARENA_MAX": os.environ.get("MALLOC_ARENA_MAX", "2")}
"""Of an actor: what fetching threads free in arenas of their own no other uses, and it grows."""
_MOST_CPUS = 8
"""For each GPU, where the cluster has more: reading and post-processing keep up with fewer."""


@dataclass(frozen=True)
class Cluster:
    """Where to run.

    Attributes:
        address: of a cluster, as Ray takes it; None: RAY_ADDRESS, else this machine alone.
        actors: in the pool; None: as many as find room, more as there is work.
    """

    address: str | None = None
    actors: int | None = None


@dataclass(frozen=True)
class Needs:
    """What an actor holds of its node, and the device that its detector is told.

    Attributes:
        cpus: number of them, and of its threads.
        gpus: 0 or 1.
    """

    cpus: int
    gpus: int

    @property
    def device(self) -> str:
        """For `Detector`."""
        return "cuda" if self.gpus else "cpu"

    @classmethod
    def of(cls, device: str, threads: int, cpus: float, gpus: float) -> Needs:
        """In a cluster of so many: one CPU, or a GPU and its share of the CPUs."""
        if device == "cuda" or (device == "auto" and gpus >= 1):
            share = int(cpus // max(gpus, 1))
            return cls(threads or min(max(share, 1), _MOST_CPUS), 1)
        return cls(threads or 1, 0)


def run(work: Work, partitions: Sequence[Partition], cluster: Cluster) -> Iterator[dict[str, Any]]:
    """What each partition came to, as they are done, or in their order where the work wants that.

    Those that end each process at work on them are an error when the others are done.

    Raises:
        UserError: what a node met, or Ray itself.
    """
    with _connected(cluster.address), _explained(work), _order(work.in_order):
        total = ray.cluster_resources()
        needs = Needs.of(work.device, work.threads, total.get("CPU", 1), total.get("GPU", 0))
        work = replace(work, device=needs.device, threads=needs.cpus)
        on_nodes = ray.put(work)  # held: an actor that is started anew reads it again
        tries = ray.remote(_Tries).options(num_cpus=0, max_restarts=-1, max_task_retries=-1)
        rows = [partition._asdict() for partition in partitions]
        done = ray.data.from_items(
            rows, override_num_blocks=min(len(rows), _MOST_BLOCKS)
        ).map_batches(
            _Actor,
            fn_constructor_args=(on_nodes, tries.remote()),
            batch_size=1,
            compute=ActorPoolStrategy(size=cluster.actors),
            num_cpus=needs.cpus,
            num_gpus=needs.gpus,
            runtime_env={"env_vars": _ENVIRONMENT},
        )
        lost: list[Partition] = []
        for row in done.iter_rows():
            one = pickle.loads(row["done"])  # noqa: S301 - of our own actors, as all of Ray's data
            if "bug" in one:
                raise RuntimeError(f"On a node: {one['bug']}")
            if "raised" in one:
                kind: type[UserError] = getattr(errors, one["raised"])
                raise kind(**one["error"])
            if "lost" in one:
                lost.append(one["lost"])
                if work.in_order or len(lost) > _MOST_LOST:
                    break
                continue
            yield one
        if lost:
            raise _died(work, lost)


def _died(work: Work, lost: Sequence[Partition]) -> RunError:
    return RunError(
        "process-died",
        f"{_TRIES} processes in turn died at the same pictures",
        got=[work.pictures(partition) for partition in lost[:_SHOWN]],
        expected="pictures that no process dies of, and memory enough for one on each node",
        hint=f"`ocdnet predict` of these alone shows which it is; move it away. {work.again}",
    )


class _Tries:
    """How often each partition was begun."""

    def __init__(self) -> None:
        self._of: Counter[int] = Counter()

    def begun(self, number: int) -> int:
        """So often, this one included."""
        self._of[number] += 1
        return self._of[number]


class _Actor:
    """Work in a process of Ray's: its model is opened once."""

    def __init__(self, work: Any, tries: Any) -> None:
        self._work: Work = ray.get(work)
        self._tries = tries

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        columns = (batch[name].tolist() for name in Partition._fields)
        done = [self._run(Partition(*row)) for row in zip(*columns, strict=True)]
        return {"done": list(map(pickle.dumps, done))}

    def _run(self, partition: Partition) -> dict[str, Any]:
        """What a partition came to; errors as data, since Ray keeps their tracebacks alone."""
        if ray.get(self._tries.begun.remote(partition.number)) > _TRIES:
            return {"lost": partition}
        try:
            with remedied("inference"):
                return self._work.run(partition)
        except Exception as error:  # noqa: BLE001 - raised where the run was asked for
            fault = error if isinstance(error, UserError) else None
            if isinstance(error, ModuleNotFoundError):
                fault = missing_package(error, "Each node")
            if fault is None:
                return {"bug": traceback.format_exc()}
            return {"raised": type(fault).__name__, "error": fault.to_dict()}


@contextmanager
def _order(kept: bool) -> Iterator[None]:
    options = DataContext.get_current().execution_options
    before, options.preserve_order = options.preserve_order, kept
    try:
        yield
    finally:
        options.preserve_order = before


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """A cluster, or this machine; a connection that is there already stays."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        if address or os.environ.get("RAY_ADDRESS"):
            # The nodes run this very copy of ocdnet, whatever is installed there.
            package = {"py_modules": [str(Path(ocdnet.__file__).parent)]}
            ray.init(address=address, runtime_env=package, logging_level="warning")
        else:
            ray.init(include_dashboard=False, logging_level="warning")
    except Exception as error:
        raise EnvironmentFault(
            "no-cluster",
            f"Ray cannot be reached{f' at {address}' if address else ''}",
            got=str(error)[:300],
            expected="the address of a running cluster, as head:6379, and room to start",
            hint="`ray start --head` starts one; without --address this machine is used alone. For "
            "one with a token (~/.ray/auth_token, Ray's default of late) set RAY_AUTH_MODE=token.",
        ) from error
    try:
        with _interrupted_by_sigterm():
            yield
    finally:
        ray.shutdown()


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM is Ctrl-C: Ray's own handler leaves no word and ends with 15."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _explained(work: Work) -> Iterator[None]:
    """A UserError of what Ray did."""
    try:
        yield
    except RayError as error:
        last = str(error)[-500:]
        raise RunError("ray-failed", "Ray ended the run", got=last, hint=work.again) from error
