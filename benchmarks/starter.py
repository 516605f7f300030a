"""Train the starter: a detector that has seen nothing but rendered scenes.

    make starter                                              # or, with another place or network:
    python benchmarks/starter.py --out /data/starter --preset tiny

Renders 4,000 scenes and 60 to validate on (7 minutes of one CPU core, 0.5 GB), trains 15 epochs of
them, 15,000 steps of four crops: about 2 hours of one core for `small`; on a GPU the same script
takes larger batches. Then it packs the network into PRESET/ocdnet-starter-PRESET.onnx
(`ocdnet.packed`), the file that the package brings along. Everything is seeded. Stop it with Ctrl-C
or SIGTERM, or let the machine go down: the same command goes on from the last checkpoint (every 250
steps) to the same weights.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

import torch

from ocdnet.data.scenes.dataset import write_dataset
from ocdnet.data.scenes.style import SceneStyle
from ocdnet.hardware import cpus, has_bf16
from ocdnet.progress_bar import counter
from ocdnet.runs.files import LATEST
from ocdnet.zoo.registry import Suggested
from packing import pack

RECIPE = Path(__file__).with_suffix(".yaml")
SUGGESTED = Suggested(size=(1664, 960), box_thresh=0.55)
"""By every third of ICDAR2015's training pictures (docs/synthetic-scenes.md)."""
SEEDS = {"train": 0, "val": 1}


def render(folder: Path, counts: dict[str, int]) -> None:
    """Render the sets that are not there yet."""
    for split, count in counts.items():
        if not (folder / split).exists():
            with counter(f"rendering {split}") as progress:
                write_dataset(folder / split, count, SceneStyle(), SEEDS[split], progress)


def command(out: Path, preset: str) -> list[str]:
    """`ocdnet train` from random weights, or from where the run was stopped."""
    run, scenes = out / preset, out / "scenes"
    overrides = [
        f"results_dir={run}",
        f"model.preset={preset}",
        f"dataset.train_dataset.data_path={json.dumps([str(scenes / 'train')])}",
        f"dataset.validate_dataset.data_path={json.dumps([str(scenes / 'val')])}",
    ]
    if torch.cuda.is_available():
        overrides += [
            "dataset.train_dataset.loader.batch_size=16",
            f"dataset.train_dataset.loader.num_workers={max(1, cpus() - 1)}",
            "train.num_epochs=40",
        ]
    elif not has_bf16():
        overrides.append("train.precision=fp32")
    latest = run / "train" / LATEST
    if latest.exists():
        overrides.append(f"train.resume_training_checkpoint_path={latest.resolve()}")
    return [sys.executable, "-m", "ocdnet", "train", "-e", str(RECIPE), *overrides]


def main() -> int:
    """Render what is missing, then train or go on."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("starter"), help="folder of everything")
    parser.add_argument("--preset", choices=("small", "tiny"), default="small", help="the network")
    parser.add_argument("--scenes", type=int, default=4000, help="scenes to train on")
    given = parser.parse_args()
    out = given.out.resolve()
    render(out / "scenes", {"train": given.scenes, "val": 60})
    process = subprocess.Popen(command(out, given.preset))

    def stop(_: int, __: FrameType | None) -> None:
        process.terminate()  # it saves after its step, and ends

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    code = process.wait()
    if code:
        return code
    packed = out / given.preset / f"ocdnet-starter-{given.preset}.onnx"
    pack(out / given.preset / "train" / LATEST, packed, SUGGESTED)
    print(f"{packed}: {packed.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
