"""Results folders made by hand, as this runtime and as TAO write them; imports no torch."""

from __future__ import annotations

import json
import os
import time
import zipfile
from pathlib import Path
from typing import Any

from ocdnet.runs.records import BestMetric, TrainResult, write_results
from ocdnet.runs.searches import SearchOptions, SearchResult, TrialStates
from ocdnet.runs.status import StatusWriter
from ocdnet.runs.status_line import Kpi, Metrics

EXPERIMENT = """\
results_dir: /elsewhere
dataset:
  train_dataset: {data_path: [/data/train]}
  validate_dataset:
    data_path: [/data/test]
    args: {img_mode: BGR, pre_processes: [{type: Resize2D, args: {short_size: [320, 320]}}]}
train: {results_dir: '', num_epochs: 4}
"""
# A real run of TAO: its kpis stay on every line once set, and its scores are text.
TAO_LINES = """\
{"date": "11/22/2026", "time": "15:11:9", "status": "STARTED", "verbosity": "INFO", "message": "Starting OCDNet train."}
{"date": "11/22/2026", "time": "15:11:11", "status": "STARTED", "verbosity": "INFO", "message": "Starting Training Loop."}
{"date": "11/22/2026", "time": "15:15:44", "status": "RUNNING", "verbosity": "INFO", "message": "Eval metrics generated.", "kpi": {"recall": "0.5", "precision": "0.25", "hmean": "0.333"}}
{"epoch": 0, "step": 4, "max_epoch": 1, "max_step": 8, "time_per_epoch": "0:04:34.556489", "time_per_step": "0:00:36.678271", "eta": "0:04:34.556489", "date": "11/22/2026", "time": "15:15:45", "status": "RUNNING", "verbosity": "INFO", "message": "Training loop in progress", "kpi": {"recall": "0.5", "precision": "0.25", "hmean": "0.333"}}
{"date": "11/22/2026", "time": "15:15:45", "status": "RUNNING", "verbosity": "INFO", "message": "Train metrics generated.", "kpi": {"train_loss": 37.570552825927734}}
"""  # noqa: E501 - lines as they are
TAO_END = """\
{"date": "11/22/2026", "time": "15:19:41", "status": "RUNNING", "verbosity": "INFO", "message": "Training loop complete.", "kpi": {"train_loss": 18.772342681884766}}
{"date": "11/22/2026", "time": "15:19:41", "status": "RUNNING", "verbosity": "INFO", "message": "Train finished successfully.", "kpi": {"train_loss": 18.772342681884766}}
"""  # noqa: E501 - lines as they are


def checkpoint(folder: Path, epoch: int, step: int | None = None) -> Path:
    """An (empty) checkpoint of an epoch counted from 0."""
    step = 10 * (epoch + 1) if step is None else step
    path = folder / f"model_epoch_{epoch:03d}_step_{step:05d}.pth"
    path.touch()
    return path


def train(
    folder: Path,
    scores: tuple[float, ...] = (0.2, 0.6, 0.4),
    epochs: int | None = None,
    end: str | None = "SUCCESS",
) -> Path:
    """A training run of ours: an epoch a score, and its end, if it came to one."""
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text(EXPERIMENT)
    status = StatusWriter(folder / "status.json")
    status.write("STARTED", "Starting OCDNet train.")
    last = (epochs or len(scores)) - 1
    for epoch, hmean in enumerate(scores):
        kpi = Kpi(hmean=hmean, precision=hmean, recall=hmean)
        status.write("RUNNING", "Eval metrics generated.", kpi)
        progress = {"epoch": epoch, "max_epoch": last, "time_per_epoch": "0:10:00"}
        eta = f"{(last - epoch) // 6}:{(last - epoch) % 6}0:00"
        status.write("RUNNING", "Training loop in progress", **progress, eta=eta)
        status.write("RUNNING", "Train metrics generated.", Kpi(train_loss=9.0 - epoch))
        checkpoint(folder, epoch)
        (folder / "model_best.pth").touch()
    if end == "SUCCESS":
        best = max(range(len(scores)), key=lambda n: (scores[n], n))  # the losses fall
        write_results(folder, trained(folder, best, scores[best]))
        status.write("SUCCESS", "train finished successfully.")
    elif end is not None:
        status.write("FAILURE", end)
    return folder


def trained(folder: Path, best: int, hmean: float) -> TrainResult:
    """What a training of ours came to."""
    return TrainResult(
        action="train",
        results_dir=str(folder),
        epochs=best + 1,
        best_epoch=best,
        best_metric=BestMetric(name="hmean", value=hmean),
        best_checkpoint=str(folder / "model_best.pth"),
        checkpoints=(),
        last_metrics=Metrics(hmean=hmean),
    )


def searched(folder: Path, **changes: Any) -> SearchResult:
    """What a search by hmean came to before its first trial."""
    nothing = {
        "results_dir": str(folder),
        "metric": "hmean",
        "direction": "maximize",
        "states": TrialStates(),
        "best": None,
        "baseline": None,
        "importance": {},
        "search": SearchOptions(),
        "trials": (),
    }
    return SearchResult(**nothing | changes)


def tao(folder: Path, ended: bool = True) -> Path:
    """A training run of TAO: a slim model_best.pth, no results.json, never SUCCESS."""
    folder.mkdir(parents=True)
    (folder / "status.json").write_text(TAO_LINES + (TAO_END if ended else ""))
    (folder / "experiment.yaml").write_text(EXPERIMENT)
    torch_file(folder / "model_best.pth", "optimizer")
    (folder / "ocd_model_latest.pth").symlink_to(checkpoint(folder, 0, 4).name)
    return folder


def job(folder: Path, action: str, *files: str, experiment: str = "model: {}\n") -> Path:
    """A finished job of another action, with (empty) files."""
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text(experiment)
    status = StatusWriter(folder / "status.json")
    status.write("STARTED", f"Starting OCDNet {action}.")
    status.write("SUCCESS", f"{action} finished successfully.")
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def torch_file(path: Path, key: str) -> Path:
    """The outside of a torch file: an archive whose pickle holds a key."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", f"\x80\x02}}X\x05{key}".encode())
    return path


def write_json(path: Path, **content: Any) -> None:
    path.write_text(json.dumps(content))


def silence(folder: Path, seconds: float) -> None:
    """As if nothing had been told for so long."""
    then = time.time() - seconds
    os.utime(folder / "status.json", (then, then))
