"""`ocdnet demo`: the whole loop on synthetic scenes, by the commands a user would type."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, TypeVar

import click

from ocdnet.config import spec
from ocdnet.errors import RunError
from ocdnet.files import write_text
from ocdnet.hardware import has_bf16
from ocdnet.runs.files import BEST
from ocdnet.runs.parsing import loads, parse
from ocdnet.runs.printed import ExportResult, InferenceResult, failure
from ocdnet.runs.records import EvaluateResult, TrainResult
from ocdnet.runs.typed import Result

T = TypeVar("T", bound=Result)

GOAL = 0.5
"""hmean on held-back scenes that the demo must reach."""

_SIDE = 320
_CROP = 256
"""Side of a training sample: two thirds of the work of a whole scene."""


def run(out: Path, minutes: float) -> dict[str, Any]:
    """Render, train, evaluate, export and predict below `out`.

    Args:
        out: folder to make.
        minutes: time to train, at most.

    Returns:
        hmean on the held-back scenes, minutes trained, and where everything is.

    Raises:
        UserError: a step failed, or hmean stayed below `GOAL`.
    """
    from ocdnet.data.scenes.dataset import write_dataset
    from ocdnet.data.scenes.style import EASY

    scenes = out / "scenes"
    click.echo(f"Rendering synthetic scenes into {scenes}", err=True)
    write_dataset(scenes / "train", 280, EASY, seed=0)
    write_dataset(scenes / "test", 60, EASY, seed=1)
    spec_file = out / "spec.yaml"
    write_text(spec_file, spec.to_yaml(_spec(out, scenes, minutes)))
    started = time.monotonic()
    _ocdnet("train", spec_file, TrainResult)
    trained = (time.monotonic() - started) / 60
    scored = _ocdnet("evaluate", spec_file, EvaluateResult)
    exported = _ocdnet("export", spec_file, ExportResult)
    predicted = _ocdnet("inference", spec_file, InferenceResult)
    hmean = scored.hmean
    result = {
        "hmean": hmean,
        "goal": GOAL,
        "train_minutes": round(trained, 1),
        "checkpoint": scored.checkpoint,
        "onnx_file": exported.onnx_file,
        "boxes": predicted.boxes,
        "overlays": predicted.overlays,
        "spec": str(spec_file),
    }
    click.echo(f"hmean on {scored.images} held-back scenes: {hmean:.3f}", err=True)
    click.echo(f"Look at the pictures: {predicted.overlays}", err=True)
    if hmean < GOAL:
        raise RunError(
            "demo-goal-missed",
            f"The demo's detector reached hmean {hmean:.3f} in {trained:.1f} minutes",
            got=hmean,
            expected=f"{GOAL} or more",
            hint="On a slow or busy machine give it more time: ocdnet demo --minutes 20",
        )
    return result


def _spec(out: Path, scenes: Path, minutes: float) -> dict[str, Any]:
    """One experiment file for all four actions: the preset for CPUs, a small crop, few epochs."""
    checkpoint = str(out / "train" / BEST)
    onnx_file = str(out / "export" / "detector.onnx")
    side = [_SIDE, _SIDE]
    return {
        "results_dir": str(out),
        "model": {"preset": "small"},
        "dataset": {
            "train_dataset": {
                "data_path": [str(scenes / "train")],
                "args": {
                    "pre_processes": [
                        {
                            "type": "EastRandomCropData",
                            "args": {"size": [_CROP, _CROP], "min_crop_side_ratio": 0.6},
                        },
                        {"type": "MakeBorderMap", "args": {}},
                        {"type": "MakeShrinkMap", "args": {}},
                    ]
                },
                "loader": {"batch_size": 4},
            },
            "validate_dataset": {
                "data_path": [str(scenes / "test")],
                "args": {"pre_processes": [{"type": "Resize2D", "args": {"short_size": side}}]},
                "loader": {"batch_size": 4},
            },
        },
        "train": {
            "num_epochs": 4,
            "max_minutes": minutes,
            "checkpoint_interval": 4,
            "validation_interval": 4,
            "precision": "bf16" if has_bf16() else "fp32",
            "optimizer": {"args": {"lr": 0.003}},
            "lr_scheduler": {"args": {"warmup_epoch": 1, "per_step": True}},
        },
        "evaluate": {"checkpoint": checkpoint, "batch_size": 4},
        "export": {
            "checkpoint": checkpoint,
            "onnx_file": onnx_file,
            "width": _SIDE,
            "height": _SIDE,
        },
        "inference": {
            "checkpoint": onnx_file,
            "input_folder": str(scenes / "test" / "img"),
            "width": _SIDE,
            "height": _SIDE,
            "resize": "auto",
        },
    }


def _ocdnet(action: str, spec_file: Path, kind: type[T]) -> T:
    """Run `ocdnet ACTION -e SPEC` as a process of its own; what it printed."""
    arguments = [action, "-e", str(spec_file)]
    click.echo(f"\n$ ocdnet {shlex.join(arguments)}", err=True)
    command = [sys.executable, "-m", "ocdnet.cli.main", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        error = failure(done.stdout, done.returncode)
        raise error or RunError("step-failed", f"{action} failed")
    result: T = parse(kind, loads(done.stdout), f"what {action} printed")
    return result
