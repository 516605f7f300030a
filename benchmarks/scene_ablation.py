"""Which ingredients of rendered scenes teach: equal short trainings, one ingredient left out each.

    python benchmarks/scene_ablation.py --out ablation            # all variants
    python benchmarks/scene_ablation.py --out ablation no-camera  # this one
    python benchmarks/scene_ablation.py --out ablation --seed 2 all

Each variant renders the same number of scenes from the same seed, trains `model.preset: tiny` from
random weights on crops of 256x256 while the learning rate falls to 0, and is scored on a third of
ICDAR2015's training pictures, which none of them trains on. What is there is not made again.
After so few steps probabilities are low, so each is scored at the box_thresh that suits it best.
Other seeds of one variant tell which differences are chance.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from ocdnet.data.scenes.dataset import write_dataset
from ocdnet.data.scenes.style import SceneStyle
from ocdnet.hardware import has_bf16
from ocdnet.progress_bar import counter
from ocdnet.runs.files import BEST, RESULTS
from scenes import ICDAR

_ALL = SceneStyle()
VARIANTS: dict[str, SceneStyle] = {
    "all": _ALL,
    "no-panels": replace(_ALL, panels=0),
    "no-clutter": replace(_ALL, clutter=0.25, occluders=0),
    "no-camera": replace(_ALL, blur=0, noise=0, jpeg=(90, 95)),
    "no-light": replace(_ALL, light=0),
    "no-view": replace(_ALL, turn=0, rotate=5, curved=0, vertical=0),
    "no-fonts": replace(_ALL, fonts="bundled", effects=0, other_scripts=0),
    "high-contrast": replace(_ALL, contrast=80, ignored=0),
    "no-margin": replace(_ALL, margin=0),
}
SPEC = """\
model: {preset: tiny}
dataset:
  train_dataset:
    loader: {batch_size: 4, num_workers: 0}
    args:
      pre_processes:
      - type: IaaAugment
        args:
        - {type: Affine, args: {rotate: [-10, 10], p: 0.3}}
        - {type: Resize, args: {size: [0.7, 1.6], p: 1}}
      - {type: WordCrop, args: {size: [256, 256]}}
      - {type: MakeBorderMap}
      - {type: MakeShrinkMap}
  validate_dataset:
    loader: {batch_size: 1, num_workers: 0}
    args: {pre_processes: [{type: Resize2D, args: {short_size: [1664, 960]}}]}
train:
  checkpoint_interval: 1000
  validation_interval: 1000
  model_ema: true
  model_ema_decay: 0.995
  optimizer: {type: AdamW, args: {lr: 0.003, weight_decay: 0.0001, amsgrad: false}}
  lr_scheduler: {args: {warmup_epoch: 1, per_step: true}}
"""


def third(folder: Path) -> Path:
    """A list of every third training picture with its labels."""
    pictures = sorted((ICDAR / "train" / "img").glob("*.jpg"), key=lambda path: int(path.stem[4:]))
    labels = ICDAR / "train" / "gt"
    lines = [f"{path}\t{labels / f'gt_{path.stem}.txt'}\n" for path in pictures[2::3]]
    (folder / "third.txt").write_text("".join(lines))
    return folder / "third.txt"


def measure(name: str, out: Path, scenes: int, epochs: int, seed: int) -> dict[str, float]:
    """Render, train and score a variant; returns its best point of the curve."""
    data, run = out / f"{name}-{seed}", out / f"run-{name}-{seed}"
    results = run / "evaluate" / RESULTS
    if not data.exists():
        with counter(f"rendering {name}") as progress:
            write_dataset(data, scenes, VARIANTS[name], seed, progress)
    if not results.exists():
        (out / "spec.yaml").write_text(SPEC)
        given = [
            f"results_dir={run}",
            f"dataset.train_dataset.data_path={json.dumps([str(data)])}",
            f"dataset.validate_dataset.data_path={json.dumps([str(third(out))])}",
            f"train.num_epochs={epochs}",
            f"train.seed={seed}",
            f"train.precision={'bf16' if has_bf16() else 'fp32'}",
            f"evaluate.checkpoint={run / 'train' / BEST}",
        ]
        for action in ("train", "evaluate"):
            command = [sys.executable, "-m", "ocdnet", action, "-e", str(out / "spec.yaml"), *given]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    curve = json.loads(results.read_text())["curve"]
    best = max(range(len(curve["hmean"])), key=curve["hmean"].__getitem__)
    return {key: values[best] for key, values in curve.items()}


def main() -> None:
    """Measure the variants that are asked for, and print a row for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("variants", nargs="*", help=f"of {', '.join(VARIANTS)}; all where none")
    parser.add_argument("--out", type=Path, required=True, help="folder of everything")
    parser.add_argument("--scenes", type=int, default=800, help="of each variant")
    parser.add_argument("--epochs", type=int, default=6, help="of training")
    parser.add_argument("--seed", type=int, default=1, help="of the scenes and the training")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    print(
        "| variant | box_thresh | precision | recall | hmean |\n|---|---|---|---|---|", flush=True
    )
    for name in given.variants or VARIANTS:
        point = measure(name, given.out.resolve(), given.scenes, given.epochs, given.seed)
        cells = (f"{point[key]:.3f}" for key in ("box_thresh", "precision", "recall", "hmean"))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
