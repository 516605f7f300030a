"""An INT8 engine against the FP32 one of the same runtime, and what it costs in accuracy."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import scenes
from ocdnet.actions import gen_trt_engine
from ocdnet.actions.scoring import counts_of
from ocdnet.backends.base import Predictor
from ocdnet.backends.open import open_engine
from ocdnet.config import spec
from ocdnet.data.annotations import index_dataset
from ocdnet.data.preprocess import Preprocess
from rows.network import HEIGHT, WIDTH, exported
from timing import Row, medians, thread_counts

CHECKPOINT = "OCDNET_BENCH_CHECKPOINT"
"""Variable that names a trained resnet18 detector; without it no accuracy is told."""
CALIBRATED_ON, SCORED_ON = 32, 60
LOSS = 0.01


def int8(rounds: int) -> Iterator[Row]:
    """OpenVINO and ONNX Runtime, a plain ResNet-18 at 1280x736."""
    trained = os.environ.get(CHECKPOINT)
    image = np.random.default_rng(0).random((1, 3, HEIGHT, WIDTH), np.float32) - 0.4
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network = exported("resnet18", folder, Path(trained) if trained else None)
        pictures = scenes.folder_of(CALIBRATED_ON, folder / "fit", "train") / "img"
        for runtime, least in (("openvino", 3), ("onnxruntime", None)):
            files = [
                _built(network, folder, runtime, precision, pictures)
                for precision in ("FP32", "INT8")
            ]
            what = f"{runtime} INT8, resnet18"
            for number in thread_counts():
                with cores(number):  # engines take as many threads as there are
                    engines = [open_engine(file) for file in files]
                    slow, fast = medians(
                        *(lambda engine=engine: engine(image) for engine in engines),
                        rounds=4 * rounds,
                    )
                yield Row(what, fast, slow, number, least, "its FP32 engine")
            if trained:
                yield _loss(what, engines, folder / f"{runtime}-scored")


@contextlib.contextmanager
def cores(number: int) -> Iterator[None]:
    """This process on so many CPUs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(before)[:number]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _built(network: Path, folder: Path, runtime: str, precision: str, pictures: Path) -> Path:
    path = folder / f"{runtime}{precision}.engine"
    section = "gen_trt_engine"
    settings = {
        "onnx_file": network,
        "trt_engine": path,
        "backend": runtime,
        "tensorrt.data_type": precision,
        "tensorrt.calibration.cal_image_dir": f"[{pictures}]",
        "tensorrt.calibration.cal_cache_file": folder / f"{runtime}.cache",
        "tensorrt.calibration.cal_batches": CALIBRATED_ON,
    }
    overrides = [f"{section}.{key}={value}" for key, value in settings.items()]
    results = f"results_dir={folder}/{runtime}{precision}"
    gen_trt_engine.run(spec.load("gen_trt_engine", None, [results, *overrides]))
    return path


def _loss(what: str, engines: list[Predictor], folder: Path) -> Row:
    """What INT8 loses of FP32's hmean; less than nothing where it gains."""
    annotations = index_dataset([scenes.folder_of(SCORED_ON, folder)], ["###"])
    before, after = (
        counts_of(engine, Preprocess((WIDTH, HEIGHT)), annotations, "evaluating").hmean
        for engine in engines
    )
    note = f"hmean {before:.4f} -> {after:.4f} on {SCORED_ON} images"
    return Row(f"{what}: loss of hmean", before - after, None, thread_counts()[-1], LOSS,
               note=note, unit="")  # fmt: skip
