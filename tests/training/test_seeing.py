"""What a run lets one see while it trains: TensorBoard, Weights & Biases, pictures, a report."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

import support
from ocdnet.cli import running
from ocdnet.config.wandb import WandbConfig
from ocdnet.data.annotations import index_dataset
from ocdnet.errors import EnvironmentFault, Exit
from ocdnet.metrics import Counts
from ocdnet.models.head import DBHead
from ocdnet.runs.samples import read_samples
from ocdnet.runs.status import STARTING, StatusWriter
from ocdnet.training import loggers, pictures
from ocdnet.training.loggers import run_loggers

pytestmark = pytest.mark.usefixtures("small_network")

SMALL = """
import pytest, support
from ocdnet.cli.main import main
support.shrink_network(pytest.MonkeyPatch())
main()
"""
has_wandb = pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="no wandb")


def train(scenes, out, *more, code=0, **environment):
    """`ocdnet train` as a process of its own; its document and what it said."""
    (out / "spec.yaml").write_text("")
    overrides = support.train_overrides(scenes, out, *more)
    tests = Path(support.__file__).parent
    kept = {name: os.environ[name] for name in os.environ if not name.startswith("WANDB")}
    paths = os.pathsep.join([str(tests), str(tests.parent / "runtime")])
    done = subprocess.run(
        [sys.executable, "-c", SMALL, "train", "-e", out / "spec.yaml", *overrides],
        env=kept | {"PYTHONPATH": paths, "HOME": str(out), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def run(scenes, tmp_path_factory):
    """The folder of 3 epochs of 4 steps, and its events as TensorBoard reads them."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    out = tmp_path_factory.mktemp("seen")
    with pytest.MonkeyPatch.context() as patch:
        support.shrink_network(patch)
        support.train(scenes, out, "train.num_epochs=3", "train.optimizer.args.lr=0.01")
    folder = out / "train"
    sizes = {"scalars": 0, "images": 0}
    events = accumulator.EventAccumulator(str(folder / "lightning_logs"), size_guidance=sizes)
    return folder, events.Reload()


def test_tensorboard_holds_what_status_json_holds(run):
    folder, events = run
    kpis = [line["kpi"] for line in support.status_lines(folder) if "kpi" in line]
    for name in ("train_loss", "shrink_loss", "threshold_loss", "binary_loss", "lr"):
        told = [kpi[name] for kpi in kpis if name in kpi]
        assert len(told) == 3
        curve = [event.value for event in events.Scalars(f"{name}_epoch")]
        assert curve == pytest.approx(told, rel=1e-5)
    for name in ("hmean", "precision", "recall"):
        told = [kpi[name] for kpi in kpis if name in kpi]
        assert [event.value for event in events.Scalars(name)] == pytest.approx(told)
    assert [event.step for event in events.Scalars("train_loss_step")] == [9]  # every tenth


def test_the_terms_make_up_the_loss(run):
    folder, _ = run
    for line in support.status_lines(folder):
        kpi = line.get("kpi", {})
        if "train_loss" in kpi:
            parts = 5 * kpi["shrink_loss"] + 10 * kpi["threshold_loss"] + kpi["binary_loss"]
            assert kpi["train_loss"] == pytest.approx(parts, rel=1e-4)


def test_three_fixed_images_are_pictured_at_every_validation(run):
    _, events = run
    tags = events.Tags()["images"]
    assert tags == [f"validation/img_{number}" for number in (1, 3, 4)]
    for tag in tags:
        shown = events.Images(tag)
        assert [event.step for event in shown] == [4, 8, 12]
        encoded = np.frombuffer(shown[-1].encoded_image_string, np.uint8)
        picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
        assert picture.shape == (2 * support.SIDE, 2 * support.SIDE, 3)
        assert len(encoded) < 100_000
        overlay, shrink = picture[: support.SIDE, : support.SIDE], picture[: support.SIDE, -10:]
        assert np.ptp(overlay.astype(int), axis=2).max() > 50  # outlines have a colour
        assert np.ptp(shrink.astype(int), axis=2).max() < 20  # maps are grey


def test_the_maps_are_the_heads():
    torch.manual_seed(0)
    head = DBHead(32)
    features = torch.randn(1, 32, 8, 8)
    head.eval()
    with torch.no_grad():
        shown = pictures._maps(head, features, head(features))
        head.training = True  # the head alone: batch norm goes on with its averages
        logits, threshold, binary = head(features)[0].numpy()
    for grey, expected in zip(shown, (1 / (1 + np.exp(-logits)), threshold, binary), strict=True):
        np.testing.assert_allclose(grey, expected * 255, atol=1.01)


def test_samples_are_of_the_best_validation(scenes, run):
    folder, _ = run
    samples = read_samples(folder)
    result = json.loads((folder / "results.json").read_text())
    assert samples.epoch == result["best_epoch"]
    assert samples.hmean == result["best_metric"]["value"]
    assert samples.images == 4
    mistaken = sum(sample.mistakes for sample in samples.worst)
    texts = sum(len(a.polygons) for a in index_dataset([str(scenes / "test")], ["###"]))
    found = sum(sample.count("found") + sample.count("missed") for sample in samples.worst)
    assert found <= texts
    assert (mistaken == 0) == (samples.hmean == 1)


def test_samples_of_a_failed_run_do_not_outlive_it(scenes, tmp_path):
    folder = tmp_path / "train"
    folder.mkdir()
    status = StatusWriter(folder / "status.json")
    status.write("STARTED", f"{STARTING} train.")
    status.write("FAILURE", "it failed")
    (folder / "samples.json").write_text(
        '{"hmean": 1.0, "images": 9, "epoch": 7, "worst": [], "best": []}'
    )
    support.train(scenes, tmp_path, "train.num_epochs=1")
    assert read_samples(folder).images == 4


def test_without_validation_there_are_no_pictures(scenes, tmp_path):
    support.train(scenes, tmp_path, "dataset.validate_dataset.data_path=[]", "train.num_epochs=1")
    assert not (tmp_path / "train" / "samples.json").exists()
    assert (tmp_path / "train" / "lightning_logs").is_dir()


def test_a_dry_run_leaves_nothing_to_see(scenes, tmp_path):
    support.train(scenes, tmp_path, "train.is_dry_run=true")
    left = sorted(path.name for path in (tmp_path / "train").iterdir())
    assert left == [".ocdnet_files.jsonl", "experiment.yaml", "status.json"]


@pytest.mark.parametrize(("epochs", "interval"), [(1200, 1), (150, 1), (1000, 5), (7, 2)])
def test_of_many_validations_a_hundred_or_so_are_pictured(epochs, interval):
    def pictured(epoch):
        trainer = SimpleNamespace(
            max_epochs=epochs,
            check_val_every_n_epoch=interval,
            current_epoch=epoch,
            num_val_batches=[9],
        )
        return pictures._shown_batches(trainer)

    validated = range(interval - 1, epochs, interval)
    batches = [pictured(epoch) for epoch in validated]
    assert min(50, len(validated)) <= sum(map(bool, batches)) <= 100
    assert all(chosen in (set(), {0, 4, 8}) for chosen in batches)


RANK = """
import sys, torch
from types import SimpleNamespace
from ocdnet.runs.samples import Showcase
from ocdnet.training.pictures import _of_other_ranks
rank = int(sys.argv[1])
torch.distributed.init_process_group(
    "gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
trainer = SimpleNamespace(world_size=2, global_rank=rank)
(other,) = _of_other_ranks(trainer, Showcase(images=10 + rank))
assert other.images == 11 - rank
torch.distributed.barrier()
torch.distributed.destroy_process_group()  # its threads would abort an interpreter that ends
"""


def test_ranks_show_each_other_their_images(tmp_path):
    command = [sys.executable, "-c", RANK]
    environment = os.environ | {"PYTHONPATH": str(Path(loggers.__file__).parents[2])}
    ranks = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store")], env=environment)
        for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in ranks] == [0, 0]


def test_without_tensorboard_training_goes_on(scenes, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    support.train(scenes, tmp_path, "train.num_epochs=1")
    assert "No TensorBoard files: the package is missing. pip install" in caplog.text
    warned = support.status_lines(tmp_path / "train")
    assert "WARNING" in {line["verbosity"] for line in warned}
    assert not (tmp_path / "train" / "lightning_logs").exists()


def test_wandb_that_is_missing_is_told_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentFault) as caught:
        run_loggers(WandbConfig(enable=True), tmp_path, {})
    assert caught.value.message == "wandb.enable needs the package wandb"
    assert "pip install" in caught.value.hint


@has_wandb
def test_without_a_login_nothing_is_asked_and_nothing_trained(scenes, tmp_path):
    started = time.monotonic()
    told, err = train(scenes, tmp_path, "wandb.enable=true", code=Exit.ENVIRONMENT)
    assert told["error"]["code"] == "wandb-login"
    assert "WANDB_MODE=offline" in told["error"]["hint"]
    assert "train_loss" not in err
    assert time.monotonic() - started < 200
    assert support.status_lines(tmp_path / "train")[-1]["status"] == "FAILURE"
    assert "not logged in" in (tmp_path / "train" / "report.html").read_text()


@has_wandb
def test_offline_a_run_is_logged_with_its_settings_and_a_report_is_made(scenes, tmp_path):
    keys = ["wandb.enable=true", "wandb.run_id=abc", "wandb.project=texts", "wandb.tags=[small]"]
    told, err = train(scenes, tmp_path, *keys, "encryption_key=key", WANDB_MODE="offline")
    assert told["best_checkpoint"]
    (logged,) = (tmp_path / "train" / "wandb").glob("offline-run-*-abc")
    (file,) = logged.glob("run-abc.wandb")
    content = file.read_bytes()
    for text in (b"texts", b"small", b"deformable_resnet18", b"train_loss_epoch", b"hmean"):
        assert text in content
    assert b'"key"' not in content  # the secret
    assert len(list(logged.glob("files/media/images/validation/*.jpg"))) == 6
    page = tmp_path / "train" / "report.html"
    assert f"Report: {page}" in err
    assert "Scores on the validation images" in page.read_text()


def test_a_report_that_cannot_be_written_fails_no_run(scenes, tmp_path, caplog):
    support.train(scenes, tmp_path, "train.num_epochs=1")
    (tmp_path / "train" / "report.html").mkdir()
    running.write_page(tmp_path / "train")
    assert "No report: " in caplog.text


def test_what_is_seen_changes_no_weight(scenes, tmp_path, monkeypatch):
    one = ["train.num_epochs=2", "train.seed=5"]
    support.train(scenes, tmp_path / "seen", *one)
    monkeypatch.setattr("ocdnet.actions.train.run_loggers", lambda *_: [])
    support.train(scenes, tmp_path / "unseen", *one)
    name = "train/model_epoch_001_step_00008.pth"
    states = [support.load(tmp_path / folder / name)["state_dict"] for folder in ("seen", "unseen")]
    assert support.differences(*states) == []


def test_counts_of_roles_and_of_the_metric_agree(run):
    """hmean of a sample is that of its polygons."""
    folder, _ = run
    for sample in read_samples(folder).worst:
        found, missed, false = (sample.count(role) for role in ("found", "missed", "false"))
        assert Counts(found, found + missed, found + false).hmean == pytest.approx(sample.hmean)


@pytest.fixture(autouse=True)
def _quiet_loggers(caplog):
    caplog.set_level(logging.WARNING, "ocdnet")
