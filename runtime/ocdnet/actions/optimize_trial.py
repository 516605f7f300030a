"""Candidates are built, compared with the model as given, and timed in turns."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocdnet import engines, hardware
from ocdnet.actions.optimize_bench import Bench, Found, Job, Opened
from ocdnet.actions.optimize_pictures import Pictures, linked
from ocdnet.actions.optimize_process import Clock, Process, available_megabytes
from ocdnet.actions.optimize_row import Row
from ocdnet.engines import RUNTIMES, Kind
from ocdnet.errors import RunError, UserError
from ocdnet.findings import note
from ocdnet.metrics import Counts, match_image
from ocdnet.postprocess import DBPostprocessor
from ocdnet.runs.printed_optimize import Precision

LOG = logging.getLogger("ocdnet")
ROUNDS = 3
_TRIAL = 4
"""Pictures of the trial of threads."""
_TURNS = 2
"""In which the numbers of threads are tried."""
_MEMORY = 0.7
"""Part of the free memory that is used at once."""
Way = tuple[Kind, Precision]
WAYS: tuple[Way, ...] = (
    ("tensorrt", "INT8"),
    ("tensorrt", "FP16"),
    ("openvino", "INT8"),
    ("onnxruntime", "INT8"),
    ("openvino", "FP16"),
    ("openvino", "FP32"),
    ("onnxruntime", "FP32"),
    ("onnxruntime", "FP16"),
    ("tensorrt", "FP32"),
)
"""What engines are built for, the most promising first: time may end before the last."""


def ways_here() -> list[Way]:
    """Those of `WAYS` that may help: ONNX Runtime computes FP16 on a GPU alone."""
    gpu = hardware.gpus() > 0 and engines.has_cuda_provider()
    return [way for way in WAYS if gpu or way != ("onnxruntime", "FP16")]


@dataclass
class Trial:
    """One model, its candidates, and what they share.

    Attributes:
        model: its file.
        out: folder for engines.
        scratch: folder for what is needed here alone.
        pictures: to calibrate, compare and time on.
        clock: the time that is left.
        size: width and height that were asked for; None: the model's.
        resize: how pictures come to that size.
        opened: what the model as given is.
        found: in each picture by the model as given.
    """

    model: Path
    out: Path
    scratch: Path
    pictures: Pictures
    clock: Clock
    size: tuple[int, int] | None
    resize: str
    opened: Opened | None = None
    found: Sequence[Found] = ()

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of `Detector` for every candidate, where they are not the default."""
        usual, own = DBPostprocessor(), self.opened.thresholds if self.opened else {}
        resize = {} if self.resize == "auto" else {"resize": self.resize}
        return resize | {name: n for name, n in own.items() if n != getattr(usual, name)}

    def rows(self, ways: Sequence[Way]) -> list[Row]:
        """All candidates, the model as given first.

        Raises:
            UserError: the model as given can't be run.
        """
        given = Row("as given", file=self.model)
        LOG.info("%s: %s.", given.name, self.model)
        self._try(given)
        if not any(one.polygons for one in self.found):
            note("no-text", "The model finds no text in the pictures: nothing can be compared")
        made = [Row(f"{way[0]} {way[1]}", *way, way[0]) for way in ways if not _lacks(way[0])]
        onnx = self._onnx(made)
        calibration = linked(self.pictures.calibration, self.scratch / "calibration")
        for number, row in enumerate(made, 1):
            self.clock.reserved = sum(one.seconds(len(self.found)) for one in (given, *made))
            if self.clock.over or row.failed:
                continue
            LOG.info("%s: candidate %d of %d.", row.name, number, len(made))
            with row.failing():
                self._build(row, onnx, calibration)
                self._try(row)
            if row.failed:
                LOG.info("%s failed: %s", row.name, row.failed)
        self.clock.reserved = 0.0
        return [given, *made, *_absent(ways)]

    def race(self, rows: Sequence[Row]) -> int:
        """Time those that work in turns, so that what disturbs one disturbs all; the rounds."""
        for group in _fitting([row for row in rows if row.works]):
            with ExitStack() as stack:
                processes = [stack.enter_context(Process(self.clock)) for _ in group]
                for row, process in zip(group, processes, strict=True):
                    with row.failing():
                        process.call(Bench.open, self._options(row, row.threads))
                        process.call(Bench.find, self._of_each_size())
                for number in range(ROUNDS):
                    LOG.info("Timing: round %d of %d.", number + 1, ROUNDS)
                    part = self.pictures.timed[number::ROUNDS] or self.pictures.timed
                    for row, process in zip(group, processes, strict=True):
                        if row.works and not self.clock.over:
                            with row.failing():
                                row.times.append(process.call(Bench.time, part))
                                row.memory = process.call(Bench.memory)
        return max(len(row.times) for row in rows)

    def _options(self, row: Row, threads: int) -> dict[str, Any]:
        own = {"model": row.file, "size": self.size, "num_threads": threads}
        return {"resize": self.resize, **self.arguments, **own}

    def _of_each_size(self) -> list[Path]:
        """A picture of each size: what runtimes prepare for a size is done before the timing."""
        pairs = zip(self.found, self.pictures.timed, strict=True)
        return list({one.size: picture for one, picture in pairs}.values())

    def _onnx(self, rows: Sequence[Row]) -> Path:
        """The model as ONNX; where a checkpoint can't be exported, all engines have failed."""
        if self.model.suffix == ".onnx" or self.opened is None or not rows:
            return self.model.absolute()
        target = self.scratch / f"{self.model.stem}.onnx"
        LOG.info("Exporting the checkpoint: about a minute.")
        arguments = (self.model.absolute(), target, self.opened.size, self.resize != "stretch")
        try:
            with Process(self.clock) as process:
                process.call(Bench.export, *arguments)
        except UserError as error:
            LOG.info("The checkpoint can't be exported: %s", error)
            for row in rows:
                row.failed = error
        return target

    def _build(self, row: Row, onnx: Path, calibration: Path) -> None:
        if row.kind is None or row.precision is None or self.opened is None:
            return
        target = self.out / f"{self.model.stem}.{row.kind}.{row.precision.lower()}.engine"
        job = Job(
            onnx=onnx,
            target=target.absolute(),
            kind=row.kind,
            precision=row.precision,
            size=self.opened.size,
            resize=self.resize,
            scratch=self.scratch,
            calibration=calibration,
        )
        with Process(self.clock) as process:
            process.call(Bench.build, job, tells=True)
        row.file = target

    def _try(self, row: Row) -> None:
        """Compare what it finds, and try numbers of threads, in turns."""
        with ExitStack() as stack:
            tried: dict[int, Process] = {}
            for threads in _numbers(hardware.cpus()):
                if row.memory and not _fits(row.memory):
                    break
                process = tried[threads] = stack.enter_context(Process(self.clock))
                opened: Opened = process.call(Bench.open, self._options(row, threads))
                if len(tried) == 1:
                    self._compare(row, opened, process.call(Bench.find, self.pictures.timed))
                    row.memory = process.call(Bench.memory)
            part = self.pictures.timed[:_TRIAL]
            seconds = dict.fromkeys(tried, 0.0)
            for process in tried.values():
                process.call(Bench.stream, part[:1])  # the first computation prepares much
            for _ in range(_TURNS):
                for threads, process in tried.items():
                    seconds[threads] += process.call(Bench.stream, part)
            row.tried = {n: _TURNS * len(part) / total for n, total in seconds.items()}

    def _compare(self, row: Row, opened: Opened, found: Sequence[Found]) -> None:
        """With what the model as given finds, and with the labels; that model comes first."""
        if self.opened is None:
            self.opened, self.found = opened, found
        row.backend = opened.backend
        if row.kind is None:
            row.name = f"as given ({row.backend})"
        with_given, with_labels = Counts(), Counts()
        rows = zip(self.pictures.timed, self.found, found, strict=True)
        for picture, given, own in rows:
            ignore = [False] * len(given.polygons)
            with_given += match_image(own.polygons, given.polygons, ignore).counts
            if label := self.pictures.labels.get(picture):
                match = match_image(own.polygons, label.polygons, label.ignore)
                with_labels += match.counts
        row.agreement = round(with_given.hmean, 4) if with_given.gt_care else None
        row.hmean = round(with_labels.hmean, 4) if self.pictures.labels else None


def _lacks(kind: Kind) -> bool:
    return bool(engines.lacking(kind))


def _absent(ways: Sequence[Way]) -> Iterator[Row]:
    """A row for each runtime that is not here: what it lacks, and what installs it."""
    for kind in dict.fromkeys(way[0] for way in ways if _lacks(way[0])):
        installable = hardware.gpus() or not RUNTIMES[kind].gpu
        fault = RunError(
            "not-here",
            f"{RUNTIMES[kind].title} is not here: {', '.join(engines.lacking(kind))}",
            hint=engines.mend(kind) if installable else None,
        )
        yield Row(kind, kind, backend=kind, failed=fault)


def _fitting(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows in groups whose processes fit into memory together; one group where they all do."""
    groups: list[list[Row]] = [[]]
    for row in rows:
        if groups[-1] and not _fits(sum(one.memory or 0.0 for one in (*groups[-1], row))):
            groups.append([])
        groups[-1].append(row)
    return groups


def _fits(megabytes: float) -> bool:
    free = available_megabytes()
    return free is None or megabytes <= _MEMORY * free


def _numbers(cpus: int) -> list[int]:
    """Numbers of threads to try, the largest first: all CPUs, and the powers of two below."""
    powers = [1 << power for power in range(cpus.bit_length())]
    return sorted({cpus, *(number for number in powers if number < cpus)}, reverse=True)
