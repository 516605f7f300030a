"""What the end-to-end tests share: a network small enough to train in seconds, and its specs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from ocdnet.config import spec
from ocdnet.models import factory
from ocdnet.models.backbones.base import Backbone
from ocdnet.models.backbones.resnet import BasicBlock
from ocdnet.models.fpn import FPN
from ocdnet.runs.typed import to_json

WIDTHS = (16, 24, 32, 48)
CROP = 128
SIDE = 160


class SmallBackbone(Backbone):
    """deformable_resnet18's structure, one thin block a stage: 20 ms a step instead of 300."""

    out_channels = WIDTHS

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, WIDTHS[0], 7, 4, 3, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU()
        )
        stages, channels = [], WIDTHS[0]
        for number, width in enumerate(WIDTHS):
            stride = 1 if number == 0 else 2
            shortcut = nn.Conv2d(channels, width, 1, stride, bias=False) if number else None
            stages.append(BasicBlock(channels, width, stride, number > 0, shortcut))
            channels = width
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """float[B, 3, H, W] -> four maps at strides 4 to 32."""
        x, features = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


def shrink_network(patch: Any) -> None:
    """Let every backbone name build the small network until the patch is undone."""
    patch.setattr(factory, "BACKBONES", dict.fromkeys(factory.BACKBONES, lambda _: SmallBackbone()))
    patch.setattr(factory, "FPN", lambda channels, *_: FPN(channels, 32))


def write_blocks(split: Path, images: int, seed: int) -> None:
    """A data path of 160x160 images, each with two light blocks on dark noise as its text.

    The small network finds them all after seconds of training: what it scores is then known.
    """
    rng = np.random.default_rng(seed)
    (split / "img").mkdir(parents=True)
    (split / "gt").mkdir()
    for number in range(1, images + 1):
        image = rng.integers(0, 40, (SIDE, SIDE, 3), dtype=np.uint8)
        lines = []
        for band in (0, 80):
            width, height = (int(side) for side in rng.integers((60, 28), (100, 44)))
            left, top = int(rng.integers(5, 150 - width)), band + int(rng.integers(5, 70 - height))
            right, bottom = left + width, top + height
            image[top:bottom, left:right] = 220
            lines.append(f"{left},{top},{right},{top},{right},{bottom},{left},{bottom},word\n")
        cv2.imwrite(str(split / "img" / f"img_{number}.png"), image)
        (split / "gt" / f"gt_img_{number}.txt").write_text("".join(lines))


def copied(scenes: Path, to: Path) -> Path:
    """A copy of the scenes that a test may spoil."""
    return Path(shutil.copytree(scenes, to))


def train_overrides(scenes: Path, out: Path, *more: str) -> list[str]:
    """Overrides of a short run over the scenes, 4 steps an epoch; later ones win."""
    return [
        f"results_dir={out}",
        f"dataset.train_dataset.data_path=[{scenes}/train]",
        f"dataset.validate_dataset.data_path=[{scenes}/test]",
        f"dataset.train_dataset.args.pre_processes.0.args.size=[{CROP},{CROP}]",
        f"dataset.validate_dataset.args.pre_processes.0.args.short_size=[{SIDE},{SIDE}]",
        "dataset.train_dataset.loader.batch_size=2",
        "dataset.train_dataset.loader.num_workers=0",
        "dataset.validate_dataset.loader.num_workers=0",
        "train.num_epochs=2",
        "train.lr_scheduler.args.warmup_epoch=0",
        *more,
    ]


def train(scenes: Path, out: Path, *more: str) -> dict[str, Any]:
    """Train in this process; the run's folder is `out/train`."""
    from ocdnet.actions import train as action

    return to_json(action.run(spec.load("train", None, train_overrides(scenes, out, *more))))


def train_detector(scenes: Path, out: Path) -> Path:
    """Train until the blocks are found; the best checkpoint."""
    rate = "train.optimizer.args.lr=0.01"
    epochs = ["train.num_epochs=30", "train.checkpoint_interval=30", "train.validation_interval=10"]
    return Path(train(scenes, out, rate, *epochs)["best_checkpoint"])


def evaluate(data: Path, checkpoint: Path, out: Path, *more: str) -> dict[str, Any]:
    """Evaluate in this process at 160x160; the run's folder is `out/evaluate`."""
    from ocdnet.actions import evaluate as action

    overrides = [
        f"results_dir={out}",
        f"evaluate.checkpoint={checkpoint}",
        f"dataset.validate_dataset.data_path=[{data}]",
        f"dataset.validate_dataset.args.pre_processes.0.args.short_size=[{SIDE},{SIDE}]",
        *more,
    ]
    return to_json(action.run(spec.load("evaluate", None, overrides)))


def export(checkpoint: Path, onnx_file: Path, *more: str) -> dict[str, Any]:
    """Export in this process at 160x160; the run's folder is `export` beside the file."""
    from ocdnet.actions import export as action

    overrides = [
        f"results_dir={onnx_file.parent}",
        f"export.checkpoint={checkpoint}",
        f"export.onnx_file={onnx_file}",
        f"export.width={SIDE}",
        f"export.height={SIDE}",
        *more,
    ]
    return to_json(action.run(spec.load("export", None, overrides)))


def infer(images: Path, checkpoint: Path, out: Path, *more: str) -> dict[str, Any]:
    """Predict in this process at 160x160; the run's folder is `out/inference`."""
    from ocdnet.actions import inference as action

    overrides = [
        f"results_dir={out}",
        f"inference.checkpoint={checkpoint}",
        f"inference.input_folder={images}",
        f"inference.width={SIDE}",
        f"inference.height={SIDE}",
        *more,
    ]
    return to_json(action.run(spec.load("inference", None, overrides)))


def leftovers(folder: Path) -> list[str]:
    """Files that were begun and not finished."""
    return [path.name for path in folder.rglob("*.tmp")]


def status_lines(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's status.json, read strictly."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    text = (folder / "status.json").read_text()
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def load(path: Path) -> dict[str, Any]:
    """A checkpoint as written."""
    return torch.load(path, weights_only=True)


def differences(left: Any, right: Any, at: str = "") -> list[str]:
    """Paths at which two trees of tensors and plain values are not equal bit for bit."""
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return [] if torch.equal(left, right) else [at]
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        return [d for key in left for d in differences(left[key], right[key], f"{at}/{key}")]
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        if len(left) != len(right):
            return [at]
        pairs = enumerate(zip(left, right, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, f"{at}/{i}")]
    return [] if left == right else [at]


def box_of(line: str) -> tuple[np.ndarray, float]:
    """Corners [4, 2] and score of a line that inference wrote."""
    numbers = [float(number) for number in line.split(",")]
    return np.array(numbers[:-1], np.float32).reshape(-1, 2), numbers[-1]


def build_engine(onnx_file: Path, engine: Path, *more: str) -> dict[str, Any]:
    """gen_trt_engine in this process at 160x160; the run's folder is beside the engine."""
    from ocdnet.actions import gen_trt_engine as action

    overrides = [
        f"results_dir={engine.parent}",
        f"gen_trt_engine.onnx_file={onnx_file}",
        f"gen_trt_engine.trt_engine={engine}",
        f"gen_trt_engine.width={SIDE}",
        f"gen_trt_engine.height={SIDE}",
        *more,
    ]
    return to_json(action.run(spec.load("gen_trt_engine", None, overrides)))


def evaluate_engine(data: Path, engine: Path, out: Path, *more: str) -> dict[str, Any]:
    """As `evaluate`, with an engine."""
    return evaluate(
        data, Path(), out, "evaluate.checkpoint=''", f"evaluate.trt_engine={engine}", *more
    )
