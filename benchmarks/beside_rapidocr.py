"""Picture to boxes on one thread: the presets beside RapidOCR (PyPI), in turns.

    make bench-rapidocr
    python benchmarks/beside_rapidocr.py --rapidocr VENV/bin/python --checkpoint small=best.pth

Each detector is a process of its own, and one picture goes to each of them in turn, so that
whatever else the machine does falls on all. Told are medians, and medians of the ratios to the
faster of RapidOCR's engines within a turn. Without a checkpoint of a preset its weights are random,
and it finds nothing: that takes the same time but for the boxes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import torch

import scenes
from ocdnet.actions import export, gen_trt_engine
from ocdnet.config import spec
from ocdnet.models.factory import build_model
from ocdnet.presets import PRESETS
from ocdnet.weights import load_exactly, read_checkpoint
from rows.network import HEIGHT, WIDTH, flops

HERE = Path(__file__).parent
RUNTIMES = ("openvino", "onnxruntime")
CALIBRATED_ON = 8
TARGET = {"small": 0.75, "tiny": 0.5}


@dataclass
class Contestant:
    """A detector that is measured.

    Attributes:
        name: as the table has it.
        command: that starts it.
        gigaflop: of one picture; None where it is not ours.
        wall: seconds of each turn.
        cpu: seconds of CPU of each turn.
        boxes: that it found last.
    """

    name: str
    command: list[str]
    gigaflop: float | None = None
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    boxes: int = 0


def main() -> None:
    """Build, measure, print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rapidocr", required=True, help="a Python with rapidocr and openvino")
    parser.add_argument("--work", type=Path, default=Path("rapidocr-bench"), help="folder to keep")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--picture", type=Path, help="1280x720; not given: a scene is rendered")
    parser.add_argument("--preset", action="append", choices=list(PRESETS), help="these alone")
    parser.add_argument("--checkpoint", action="append", default=[], metavar="PRESET=FILE")
    given = parser.parse_args()
    logging.getLogger("ocdnet").setLevel(logging.ERROR)
    given.work.mkdir(parents=True, exist_ok=True)
    checkpoints = dict(one.split("=", 1) for one in given.checkpoint)
    picture = given.picture or _scene(given.work)
    contestants = [
        *(_rapidocr(given.rapidocr, runtime, picture) for runtime in RUNTIMES),
        *_ours(given.preset or ["small", "tiny"], given.work, checkpoints, picture),
    ]
    measure(contestants, given.rounds)
    _print(contestants)


def measure(contestants: list[Contestant], rounds: int) -> None:
    """One picture to each in turn; the first three turns warm up."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(
                subprocess.Popen(one.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 text=True, env=environment)
            )
            for one in contestants
        ]  # fmt: skip
        for turn in range(rounds + 3):
            for one, process in zip(contestants, running, strict=True):
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write("\n")
                process.stdin.flush()
                wall, cpu, one.boxes = json.loads(process.stdout.readline())
                if turn >= 3:
                    one.wall.append(wall)
                    one.cpu.append(cpu)


def _print(contestants: list[Contestant]) -> None:
    best = min(contestants[: len(RUNTIMES)], key=lambda one: median(one.wall))
    print(f"One thread, a picture of 1280x720 to boxes, medians of {len(best.wall)} turns.\n")
    print("| detector | GFLOP | ms | ms of CPU | of RapidOCR's best | by CPU | boxes |")
    print("|---|---|---|---|---|---|---|")
    for one in contestants:
        flop = "" if one.gigaflop is None else f"{one.gigaflop:.1f}"
        wall, cpu = (
            median(a / b for a, b in zip(own, other, strict=True))
            for own, other in ((one.wall, best.wall), (one.cpu, best.cpu))
        )
        times = f"{1000 * median(one.wall):.0f} | {1000 * median(one.cpu):.0f}"
        print(f"| {one.name} | {flop} | {times} | {wall:.2f} | {cpu:.2f} | {one.boxes} |")
    targets = ", ".join(f"{name} {share}" for name, share in TARGET.items())
    print(f"\nDemanded of the fastest engine: {targets} of RapidOCR's best at most.")


def _rapidocr(python: str, runtime: str, picture: Path) -> Contestant:
    command = [python, str(HERE / "contestant.py"), "rapidocr", runtime, str(picture)]
    return Contestant(f"RapidOCR, {runtime}", command)


def _ours(
    presets: list[str], work: Path, checkpoints: Mapping[str, str], picture: Path
) -> Iterator[Contestant]:
    folder = work / "calibration"
    if not folder.exists():
        scenes.folder_of(CALIBRATED_ON, folder, "train")
    for name in presets:
        network, gigaflop = _exported(name, work, checkpoints.get(name))
        for runtime in RUNTIMES:
            for precision in ("FP16" if runtime == "openvino" else "FP32", "INT8"):
                engine = _built(network, runtime, precision, folder / "img")
                command = [sys.executable, str(HERE / "contestant.py"), "ocdnet", str(engine)]
                what = f"{name}, {runtime} {precision}"
                yield Contestant(what, [*command, str(picture)], gigaflop)


def _exported(name: str, work: Path, checkpoint: str | None) -> tuple[Path, float]:
    """The ONNX file of a preset, and its operations; kept from an earlier run."""
    path = work / f"{name}.pth"
    overrides = [f"results_dir={work}/{name}", f"model.preset={name}"]
    loaded = spec.load("export", None, [*overrides, f"export.checkpoint={checkpoint or path}"])
    model = build_model(loaded.experiment.model).eval()
    if checkpoint:
        load_exactly(model, read_checkpoint(Path(checkpoint)), loaded.experiment.model.backbone)
    else:
        torch.nn.init.constant_(model.head.binarize[-1].bias, -9.0)  # no pixel is text
        torch.save({"state_dict": model.state_dict()}, path)
    file = work / f"{name}.onnx"
    if not file.exists():
        loaded.experiment.export.onnx_file = str(file)
        loaded.experiment.export.width, loaded.experiment.export.height = WIDTH, HEIGHT
        export.run(loaded)
    return file, flops(model) / 1e9


def _built(network: Path, runtime: str, precision: str, pictures: Path) -> Path:
    path = network.with_name(f"{network.stem}-{runtime}-{precision}.engine")
    settings = {
        "onnx_file": network,
        "trt_engine": path,
        "backend": runtime,
        "width": WIDTH,
        "height": HEIGHT,
        "tensorrt.data_type": precision,
        "tensorrt.calibration.cal_image_dir": f"[{pictures}]",
        "tensorrt.calibration.cal_cache_file": network.with_suffix(".cache"),
        "tensorrt.calibration.cal_batches": CALIBRATED_ON,
    }
    overrides = [f"gen_trt_engine.{key}={value}" for key, value in settings.items()]
    if not path.exists():
        folder = f"results_dir={path}.results"
        gen_trt_engine.run(spec.load("gen_trt_engine", None, [folder, *overrides]))
    return path


def _scene(work: Path) -> Path:
    path = work / "picture.jpg"
    if not path.exists():
        scenes.image_with_text(path)
    return path


if __name__ == "__main__":
    main()
