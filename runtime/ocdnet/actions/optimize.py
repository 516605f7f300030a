"""Optimize: the ways to run a model on this machine, timed and compared on the user's pictures."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ocdnet import hardware
from ocdnet.actions.optimize_choice import Use, recommended, table
from ocdnet.actions.optimize_pictures import chosen_pictures
from ocdnet.actions.optimize_process import Clock
from ocdnet.actions.optimize_trial import Trial, Way, ways_here
from ocdnet.backends.open import is_foreign
from ocdnet.errors import DataError, Interrupted, RunError, UsageError
from ocdnet.files import make_folder, write_json
from ocdnet.findings import Findings, note
from ocdnet.runs.printed_optimize import OptimizeResult
from ocdnet.runs.typed import to_json, warned
from ocdnet.zoo.fetching import model_file

LOG = logging.getLogger("ocdnet")
RESULTS = "optimize.json"
_BUSY = 0.5
"""Load for each CPU from which it matters."""
_CHECKPOINTS = (".pth", ".tlt", ".ckpt")


@dataclass(frozen=True)
class Request:
    """What `ocdnet optimize` was asked for.

    Attributes:
        model: a .pth, an .onnx, or a name of public weights.
        images: folder of pictures, one with img/ and gt/, or a datalist.
        out: folder for the engines; absent or empty.
        minutes: that all of it may take, about.
        size: width and height of the network's input; None: the model's.
        resize: how pictures come to that size, as of `Detector`.
        program: start of a command line that runs ocdnet.
        ways: runtimes and precisions to try beside the model as given; None: all that may help.
    """

    model: str
    images: Path
    out: Path
    minutes: float = 15.0
    size: tuple[int, int] | None = None
    resize: str = "auto"
    program: str = "ocdnet"
    ways: Sequence[Way] | None = None


def run(request: Request, findings: Findings) -> OptimizeResult:
    """Build, time and compare what this machine can run; write the engines and optimize.json.

    Args:
        request: as above.
        findings: what is collected while this runs.

    Raises:
        UserError: the model given can't be run, there are no pictures, or `out` holds something.
        Interrupted: by SIGINT or SIGTERM. Engines that were built by then stay.
    """
    clock = Clock(request.minutes)
    _note_load()
    model = _model(request.model)
    _refuse_full(request.out)
    pictures = chosen_pictures(request.images)
    with _filling(request.out), tempfile.TemporaryDirectory(prefix="ocdnet-") as scratch:
        trial = Trial(
            model, request.out, Path(scratch), pictures, clock, request.size, request.resize
        )
        rows = trial.rows(ways_here() if request.ways is None else request.ways)
        rounds = trial.race(rows)
        candidates = tuple(row.record() for row in rows)
        if candidates[0].failed or trial.opened is None:
            raise rows[0].failed or RunError(
                "out-of-time", "No time was left to time anything", hint="Give more --minutes."
            )
        use = Use(request.program, hardware.cpus(), request.size, trial.arguments)
        choice = recommended(candidates, use)
        LOG.info("%s\n%s\nRecommended: %s", table(candidates, choice), choice.rule, choice.python)
        result = OptimizeResult(
            warnings=tuple(map(warned, findings.rows())),
            model=str(model),
            size=trial.opened.size,
            resize=request.resize,
            images=len(pictures.timed),
            calibration_images=len(pictures.calibration),
            labelled=bool(pictures.labels),
            rounds=rounds,
            seconds=round(clock.spent, 1),
            candidates=candidates,
            recommended=choice,
            results=str(request.out / RESULTS),
        )
        write_json(request.out / RESULTS, to_json(result))
    return result


def _note_load() -> None:
    """Note that others compute here, where the system tells."""
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if busy > _BUSY * hardware.machine_cpus():
        note("busy-machine", "Other programs keep the CPUs busy: the figures vary with them")


def _model(given: str) -> Path:
    """The file of the model; raises DataError where it is absent, or nothing to build from."""
    path = model_file(given)
    if not path.is_file():
        raise DataError("no-model", f"There is no file {path}", got=str(path))
    if path.suffix not in _CHECKPOINTS and not is_foreign(path):
        raise DataError(
            "wrong-model-file",
            f"{path} is nothing that engines are built from",
            got="an engine" if path.suffix == ".onnx" else path.suffix or "no suffix",
            expected="a .pth checkpoint, an .onnx file that is no engine, or a name of "
            "`ocdnet weights list`",
        )
    return path


def _refuse_full(out: Path) -> None:
    if out.exists() and (not out.is_dir() or next(out.iterdir(), None) is not None):
        raise UsageError(
            "not-empty",
            f"{out} is there and not empty",
            expected="a folder that is absent or empty",
            hint="Name another one with --out.",
        )


@contextmanager
def _filling(out: Path) -> Iterator[None]:
    """Make the folder of results; it goes again where nothing came of it."""
    existed, before = out.exists(), signal.getsignal(signal.SIGTERM)
    make_folder(out)
    main = threading.current_thread() is threading.main_thread()
    if main:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt as error:
        built = any(out.iterdir())
        hint = f"{out} has the engines so far: name another --out." if built else "Run it again."
        raise Interrupted("interrupted", "Interrupted", hint=hint) from error
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)
        if not existed and next(out.iterdir(), None) is None:
            shutil.rmtree(out)
