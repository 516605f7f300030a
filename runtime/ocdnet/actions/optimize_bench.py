"""What happens in a candidate's process: it is built, opened, compared and timed there."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, cast

from ocdnet.config import spec
from ocdnet.detector import Detector
from ocdnet.engines import Kind
from ocdnet.errors import RunError, UserError
from ocdnet.findings import collecting
from ocdnet.geometry import Polygon
from ocdnet.install import missing_package
from ocdnet.runs.printed_optimize import Backend
from ocdnet.spec_keys import STRIDE

_STATUS = Path("/proc/self/status")
_REST = 0.2
"""Seconds before a timing, for threads of the process before that go on spinning."""


@dataclass(frozen=True)
class Opened:
    """What a model turned out to be.

    Attributes:
        backend: what runs it.
        size: width and height of its input.
        thresholds: arguments of `Detector` by which its maps are read.
    """

    backend: Backend
    size: tuple[int, int]
    thresholds: dict[str, float]


class Found(NamedTuple):
    """What is in a picture."""

    size: tuple[int, int]
    """Of the picture, in pixels."""
    polygons: list[Polygon]


@dataclass(frozen=True)
class Times:
    """Seconds that pictures took.

    Attributes:
        each: of every picture alone.
        stream: of all of them in a stream.
    """

    each: list[float]
    stream: float


@dataclass(frozen=True)
class Job:
    """An engine to build.

    Attributes:
        onnx: what it is built from.
        target: its file.
        kind: the runtime.
        precision: FP32, FP16 or INT8.
        size: width and height of its input.
        resize: how pictures come to that size.
        scratch: folder for the calibration cache, and what else the build writes.
        calibration: folder of the pictures that INT8 is calibrated on.
    """

    onnx: Path
    target: Path
    kind: Kind
    precision: str
    size: tuple[int, int]
    resize: str
    scratch: Path
    calibration: Path


class Bench:
    """The work; one method a request."""

    def __init__(self) -> None:
        self._detector: Detector | None = None

    def export(self, checkpoint: Path, target: Path, size: tuple[int, int], dynamic: bool) -> None:
        """Write a checkpoint as ONNX; raises as `export`."""
        try:
            from ocdnet.actions import export
            from ocdnet.backends.torch import public
            from ocdnet.networks import own_model
            from ocdnet.weights import read_checkpoint
        except ModuleNotFoundError as error:
            raise missing_package(error, "Export") or error from error
        overrides = [
            f"results_dir={_yaml(target.parent)}",
            f"export.checkpoint={_yaml(checkpoint)}",
            f"export.onnx_file={_yaml(target)}",
            f"export.width={size[0]}",
            f"export.height={size[1]}",
            f"export.dynamic_size={str(dynamic).lower()}",
        ]
        loaded = spec.load("export", None, overrides)
        read = read_checkpoint(checkpoint)
        experiment = replace(loaded.experiment, model=own_model(read, public(read)))
        export.run(replace(loaded, experiment=experiment))

    def build(self, job: Job) -> None:
        """Build an engine; raises as `gen_trt_engine`."""
        from ocdnet.actions import gen_trt_engine

        gen_trt_engine.run(spec.load("gen_trt_engine", None, _overrides(job)))

    def open(self, arguments: dict[str, Any]) -> Opened:
        """Open a model; raises as `Detector`."""
        detector = self._detector = Detector(**arguments)
        found = detector.postprocess
        names = ("thresh", "box_thresh", "unclip_ratio")
        return Opened(
            cast(Backend, detector.backend),
            detector.size,
            {name: getattr(found, name) for name in names},
        )

    def find(self, pictures: Sequence[Path]) -> list[Found]:
        """What is found in each picture."""
        return [Found(page.size, page.polygons) for page in self._open().stream(pictures)]

    def time(self, pictures: Sequence[Path]) -> Times:
        """Seconds of each picture, and of a stream of them."""
        detector, each = self._open(), []
        time.sleep(_REST)
        for picture in pictures:
            start = time.perf_counter()
            detector(picture)
            each.append(time.perf_counter() - start)
        return Times(each, self.stream(pictures))

    def memory(self) -> float | None:
        """Megabytes that this process held at most; None where the system does not say."""
        with suppress(OSError, ValueError, IndexError):
            lines = _STATUS.read_text("ascii", errors="replace").splitlines()
            row = next((line for line in lines if line.startswith("VmHWM:")), "")
            return int(row.split()[1]) * 1024 / 1e6
        return None

    def stream(self, pictures: Sequence[Path]) -> float:
        """Seconds of pictures in a stream."""
        start = time.perf_counter()
        for _ in self._open().stream(pictures):
            pass
        return time.perf_counter() - start

    def _open(self) -> Detector:
        if self._detector is None:
            raise RunError("not-open", "Nothing was opened yet")
        return self._detector


def _overrides(job: Job) -> list[str]:
    """What `gen_trt_engine` is told."""
    from ocdnet.backends.onnx import OnnxPredictor

    network, (width, height) = OnnxPredictor(job.onnx, gpu=None), job.size
    overrides = [
        f"results_dir={_yaml(job.scratch / job.target.stem)}",
        f"gen_trt_engine.onnx_file={_yaml(job.onnx)}",
        f"gen_trt_engine.trt_engine={_yaml(job.target)}",
        f"gen_trt_engine.backend={job.kind}",
        f"gen_trt_engine.width={width}",
        f"gen_trt_engine.height={height}",
        f"gen_trt_engine.img_mode={network.img_mode or 'BGR'}",
        f"gen_trt_engine.tensorrt.data_type={job.precision}",
    ]
    if network.size is None and job.resize != "stretch":
        most = _most(job)
        overrides.append(f"gen_trt_engine.min_size=[{STRIDE},{STRIDE}]")
        overrides.append(f"gen_trt_engine.max_size=[{most},{most}]")
    if job.precision == "INT8":
        section = "gen_trt_engine.tensorrt.calibration"
        overrides += [
            f"{section}.cal_image_dir=[{_yaml(job.calibration)}]",
            f"{section}.cal_cache_file={_yaml(job.scratch / 'calibration.bin')}",
            f"{section}.cal_batches={sum(1 for _ in job.calibration.iterdir())}",
        ]
    return overrides


def _yaml(path: Path) -> str:
    """A path as a value in YAML, whatever signs it holds."""
    return json.dumps(str(path))


def _most(job: Job) -> int:
    """The longest side of an engine's input: `auto` gives long pictures four times the area."""
    # TensorRT takes memory for the largest input at once: portraits fit, long pictures shrink.
    return max(job.size) * (4 if job.resize == "auto" and job.kind != "tensorrt" else 1)


def serve(requests: Connection) -> None:
    """Answer requests until the other end is gone: (name, arguments) -> (done, value, findings)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asked decides when this ends
    os.dup2(sys.stderr.fileno(), 1)  # stdout carries the command's document alone
    bench = Bench()
    with suppress(EOFError, BrokenPipeError):
        while True:
            name, arguments = requests.recv()
            with collecting() as findings:
                done, value = _answered(bench, name, arguments)
            rows = [(row.code, row.message) for row in findings.rows()]
            requests.send((done, value, rows))


def _answered(bench: Bench, name: str, arguments: Sequence[Any]) -> tuple[bool, Any]:
    try:
        return True, getattr(bench, name)(*arguments)
    except UserError as error:
        return False, error
    except Exception as error:  # noqa: BLE001 - whatever ails a candidate, the others go on
        traceback.print_exc()
        text = (str(error).strip().splitlines() or [""])[-1]
        return False, RunError("failed", f"{type(error).__name__}: {text[:200]}")
