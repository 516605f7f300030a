"""Does a long training grow? Memory of the training process and its workers, epoch by epoch.

Trains a network of one convolution, so that nothing but the data pipeline and Lightning's loops is
at work, and adds up the proportional set sizes (PSS: shared pages count once) of all processes.

    python benchmarks/memory.py --images 10000 --epochs 10 --workers 2
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pytorch_lightning as pl
import torch

from ocdnet.config import spec
from ocdnet.data.datamodule import DetectionData
from ocdnet.data.dataset import TrainBatch

GROWTH = 0.05
"""Part by which the second half of the run may use more than the first; epochs differ by 4 %."""

SIDE = 64


def write_images(split: Path, images: int) -> None:
    """A data path of small images, each with one light block and a label for it."""
    rng = np.random.default_rng(0)
    for name in ("img", "gt"):
        (split / name).mkdir(parents=True)
    for number in range(images):
        image = rng.integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8)
        left, top = rng.integers(0, 24, 2).tolist()
        right, bottom = left + 36, top + 24
        image[top:bottom, left:right] = 220
        cv2.imwrite(str(split / "img" / f"{number}.jpg"), image)
        line = f"{left},{top},{right},{top},{right},{bottom},{left},{bottom},word{number}\n"
        (split / "gt" / f"gt_{number}.txt").write_text(line)


def pss(process: int | str) -> float:
    """Proportional set size of a process (or "self") in MB, as Linux counts it."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000


class OneConvolution(pl.LightningModule):
    """Takes DetectionData's batches and has next to no work with them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 1, 1)

    def training_step(self, batch: TrainBatch, _: int) -> torch.Tensor:
        """A loss that uses the batch."""
        out = self.layer(batch.images.permute(0, 3, 1, 2) / 255)
        return torch.nn.functional.mse_loss(out[:, 0], batch.shrink_maps.float())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain SGD."""
        return torch.optim.SGD(self.parameters(), 0.01)


class Meter(pl.Callback):
    """Prints and keeps the memory at the end of every epoch."""

    def __init__(self) -> None:
        self.main: list[float] = []
        self.workers: list[float] = []
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read the numbers."""
        children = multiprocessing.active_children()
        self.main.append(pss(os.getpid()))
        self.workers.append(sum(pss(child.pid) for child in children if child.pid))
        print(
            f"epoch {trainer.current_epoch + 1:3}  main {self.main[-1]:7.1f} MB  "
            f"{len(children)} workers {self.workers[-1]:7.1f} MB  "
            f"{time.perf_counter() - self._start:6.1f} s",
            flush=True,
        )


def train(split: Path, epochs: int, workers: int) -> Meter:
    """Train over the data; the meter with its numbers."""
    steps = "dataset.train_dataset.args.pre_processes"
    loaded = spec.load(
        "train",
        None,
        [
            f"results_dir={split}",
            f"dataset.train_dataset.data_path=[{split}]",
            f"{steps}.0.args.size=[{SIDE},{SIDE}]",
            "dataset.train_dataset.loader.batch_size=50",
            f"dataset.train_dataset.loader.num_workers={workers}",
        ],
    )
    meter = Meter()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[meter],
    )
    trainer.fit(OneConvolution(), datamodule=DetectionData(loaded.experiment.dataset, seed=1))
    return meter


def main() -> int:
    """Measure; 1 where memory grew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    if given.epochs < 2:
        parser.error("--epochs must be 2 or more")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder) / "train", given.images)
        meter = train(Path(folder) / "train", given.epochs, given.workers)
    total = [a + b for a, b in zip(meter.main, meter.workers, strict=True)]
    half = -(-len(total) // 2)
    ratio = max(total[half:]) / max(total[:half])
    print(f"most in the second half / in the first: {ratio:.3f} (at most {1 + GROWTH})")
    return int(ratio > 1 + GROWTH)


if __name__ == "__main__":
    sys.exit(main())
