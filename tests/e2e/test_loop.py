"""The loop of a user, by the commands a user types, with the real network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import onnx
import pytest

import support

SIDE = "160"


def ocdnet(folder, *arguments, codes=(0,), before=()):
    """Run `ocdnet` in `folder`; the one JSON document on its stdout."""
    runtime = Path(support.__file__).parents[1] / "runtime"
    done = subprocess.run(
        [sys.executable, "-m", "ocdnet.cli.main", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [*before, runtime]))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in codes, done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    return json.loads(done.stdout)


SPEC = f"""
results_dir: results
dataset:
  train_dataset:
    data_path: [scenes/train]
    args:
      pre_processes:
        - {{type: EastRandomCropData, args: {{size: [96, 96]}}}}
        - {{type: MakeBorderMap, args: {{}}}}
        - {{type: MakeShrinkMap, args: {{}}}}
    loader: {{batch_size: 2}}
  validate_dataset:
    data_path: [scenes/test]
    args: {{pre_processes: [{{type: Resize2D, args: {{short_size: [{SIDE}, {SIDE}]}}}}]}}
train: {{num_epochs: 1}}
evaluate: {{checkpoint: results/train/model_best.pth}}
export: {{checkpoint: results/train/model_best.pth, onnx_file: detector.onnx,
         width: {SIDE}, height: {SIDE}}}
inference: {{checkpoint: detector.onnx, input_folder: scenes/test/img,
            width: {SIDE}, height: {SIDE}}}
"""


def without_torch(folder):
    """A folder for PYTHONPATH that makes a deploy host of this machine: torch is not there."""
    blocker = folder / "no_torch"
    blocker.mkdir()
    (blocker / "torch.py").write_text("raise ModuleNotFoundError('no torch', name='torch')")
    return blocker


def test_the_loop(tmp_path):
    (tmp_path / "spec.yaml").write_text(SPEC)
    spec = ("-e", "spec.yaml")
    for seed, (split, count) in enumerate((("train", 4), ("test", 2))):
        scenes = ocdnet(
            tmp_path, "data", "synth", "--out", f"scenes/{split}", "--count", str(count),
            "--size", "200x120", "--seed", str(seed),
        )  # fmt: skip
        assert scenes["images"] == count

    trained = ocdnet(tmp_path, "train", *spec)
    assert trained["checkpoints"] == ["model_epoch_000_step_00002.pth"]
    assert (tmp_path / trained["best_checkpoint"]).is_file()
    lines = support.status_lines(tmp_path / "results" / "train")
    assert (lines[0]["status"], lines[-1]["status"]) == ("STARTED", "SUCCESS")

    scored = ocdnet(tmp_path, "evaluate", *spec)
    assert scored["images"] == 2
    assert 0 <= scored["hmean"] <= 1
    assert scored["hmean"] == pytest.approx(trained["best_metric"]["value"])

    exported = ocdnet(tmp_path, "export", *spec)
    assert exported["max_difference"] < 1e-3
    graph = onnx.load(tmp_path / "detector.onnx").graph
    assert [node.op_type for node in graph.node].count("DeformConv") == 6

    other = ("results_dir=onnx", "evaluate.checkpoint=detector.onnx")
    again = ocdnet(tmp_path, "evaluate", *spec, *other, before=[without_torch(tmp_path)])
    assert again["counts"] == scored["counts"]

    predicted = ocdnet(tmp_path, "inference", *spec, before=[tmp_path / "no_torch"])
    assert predicted["images"] == 2
    folder = tmp_path / "results" / "inference"
    for name in ("img_1", "img_2"):
        assert cv2.imread(str(folder / f"{name}_result.jpg")).shape == (120, 200, 3)
        assert all(len(line.split(",")) == 9 for line in (folder / f"{name}.txt").open())

    refused = ocdnet(tmp_path, "train", *spec, codes=[3])
    assert refused["error"]["code"] == "results-dir-in-use"


@pytest.mark.slow
def test_demo(tmp_path):
    """Too short to learn: all steps are taken, and the goal is said to be missed, or reached."""
    result = ocdnet(tmp_path, "demo", "--out", "demo", "--minutes", "0.3", codes=[0, 6])
    out = tmp_path / "demo"
    if "error" in result:
        assert result["error"]["code"] == "demo-goal-missed"
        assert result["error"]["got"] < 0.5
    else:
        assert result["hmean"] >= 0.5
    for name in ("spec.yaml", "train/model_best.pth", "evaluate/results.json"):
        assert (out / name).is_file()
    assert (out / "export" / "detector.onnx").is_file()
    assert len(list((out / "inference").glob("*_result.jpg"))) == 60
