"""What a run does, written beside its results at its first start: a later start goes on with it."""

from __future__ import annotations

import json
import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ocdnet import findings
from ocdnet.errors import DataError, RunError, UsageError
from ocdnet.findings import Finding
from ocdnet.scale.pieces import RUN, Piece
from ocdnet.scale.storage import names_in, put_whole, read_file

_PLAN = "_plan.jsonl"
_PART = "part-"


class Partition(NamedTuple):
    """One piece of a run, and where the plan describes it.

    Attributes:
        number: of the partition, and of its file.
        start: first byte of its line.
        stop: the byte behind it.
    """

    number: int
    start: int
    stop: int


@dataclass(frozen=True)
class Plan:
    """A run's partitions.

    Attributes:
        target: folder of the results.
        ends: where each partition's line of the plan ends.
    """

    target: str
    ends: list[int]

    def partitions(self) -> Iterator[Partition]:
        """All of them."""
        start = 0
        for number, end in enumerate(self.ends):
            yield Partition(number, start, end)
            start = end


def prepared(target: str, settings: dict[str, Any], pieces: Callable[[], Iterator[Piece]]) -> Plan:
    """The plan of a run: the one that lies at its target, or a new one.

    Args:
        target: folder of the results.
        settings: what decides the results; an earlier run must have had the same.
        pieces: lists what is to be read; called only where there is no plan.

    Raises:
        UsageError: the target holds other files, or results of other settings.
        DataError: there are no pictures.
    """
    earlier = _earlier(target)
    if earlier is not None and earlier["settings"] == settings:
        findings.relay(Finding(**row) for row in earlier["findings"])
        return Plan(target, earlier["ends"])
    names = names_in(target)
    if any(name.startswith(_PART) for name in names):
        _refuse(target, settings, earlier)
    if others := sorted(set(names) - {_PLAN, RUN}):
        raise UsageError(
            "not-empty",
            f"{target} holds other files than a run's results",
            got=others[:3],
            expected="a new folder, or one that this command wrote",
        )
    with findings.collecting() as seen:
        ends = _write(f"{target}/{_PLAN}", pieces())
    findings.relay(seen.rows())
    if not ends:
        raise DataError(
            "no-images",
            "The sources hold no images",
            expected="images, Parquet files or tars",
            hint="--recursive searches sub-folders.",
        )
    with tempfile.TemporaryDirectory(prefix="ocdnet-") as folder:
        file = Path(folder) / RUN
        run = {"settings": settings, "findings": list(map(asdict, seen.rows())), "ends": ends}
        file.write_text(json.dumps(run), encoding="utf-8")
        put_whole(file, f"{target}/{RUN}")
    return Plan(target, ends)


def piece_of(target: str, partition: Partition) -> Piece:
    """What a partition reads."""
    line = read_file(f"{target}/{_PLAN}", partition.start, partition.stop)
    if line is None:
        raise RunError(
            "plan-gone",
            f"{target}/{_PLAN}, which this run wrote, is not there on the node {platform.node()}",
            expected="results at a URI, or in a folder that every node sees",
            hint="Where every node sees it and it was removed: run into a new folder.",
        )
    return Piece.of_line(line)


def _earlier(target: str) -> dict[str, Any] | None:
    content = read_file(f"{target}/{RUN}")
    if content is None:
        return None
    try:
        run: dict[str, Any] = json.loads(content)
        run["settings"].items(), [int(end) for end in run["ends"]]
        [Finding(**row) for row in run["findings"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            "damaged-run",
            f"{target}/{RUN} cannot be read",
            got=str(error)[:200],
            hint="Run into a new folder.",
        ) from error
    return run


def _refuse(target: str, settings: dict[str, Any], earlier: dict[str, Any] | None) -> None:
    before = {} if earlier is None else earlier["settings"]
    raise UsageError(
        "other-run",
        f"{target} holds the results of a run with other settings",
        got={key: settings[key] for key in settings if before.get(key) != settings[key]},
        expected={key: before[key] for key in before if settings.get(key) != before[key]} or None,
        hint="Give the settings of that run to go on with it, or a new folder.",
    )


def _write(uri: str, pieces: Iterator[Piece]) -> list[int]:
    """Where each piece's line ends."""
    ends, end = [], 0
    with tempfile.TemporaryDirectory(prefix="ocdnet-") as folder:
        local = Path(folder) / _PLAN
        with local.open("wb") as file:
            for piece in pieces:
                end += file.write(piece.line())
                ends.append(end)
        if ends:
            put_whole(local, uri)
    return ends
