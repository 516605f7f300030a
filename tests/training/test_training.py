"""What training does with its options: precision, optimiser, time limit, start, bad numbers."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import pytest
import torch

import support
from ocdnet import findings
from ocdnet.config import spec
from ocdnet.config.train import TrainConfig
from ocdnet.errors import DataError, Exit, RunError
from ocdnet.runs.samples import read_samples
from ocdnet.training import strategy
from ocdnet.training.optimizer import build_optimizer

pytestmark = pytest.mark.usefixtures("small_network")

FIRST = "model_epoch_000_step_00004.pth"
SECOND = "model_epoch_001_step_00008.pth"


def losses(folder):
    lines = support.status_lines(folder)
    return [line["kpi"]["train_loss"] for line in lines if "train_loss" in line.get("kpi", {})]


def weights(path):
    return support.load(path)["state_dict"]


def test_learns(detector):
    folder = detector.parent
    first, *_, last = losses(folder)
    assert last < first / 2
    assert support.load(detector)["ocdnet_spec"]["train"]["num_epochs"] == 30
    best = max(line.get("kpi", {}).get("hmean", 0) for line in support.status_lines(folder))
    assert best > 0.9


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision(scenes, tmp_path, precision, caplog, monkeypatch):
    monkeypatch.setattr(strategy, "has_bf16", lambda: True)
    caplog.set_level(logging.INFO, "ocdnet")
    support.train(scenes, tmp_path, f"train.precision={precision}")
    assert all(map(math.isfinite, losses(tmp_path / "train")))
    assert ("training in bf16 on the CPU" in caplog.text) == (precision == "fp16")
    trained = weights(tmp_path / "train" / SECOND)
    assert {t.dtype for t in trained.values()} == {torch.float32, torch.int64}
    support.train(scenes, tmp_path / "full")
    assert support.differences(trained, weights(tmp_path / "full" / "train" / SECOND))


def test_cpu_without_bf16_is_told_so(caplog, monkeypatch):
    monkeypatch.setattr(strategy, "has_bf16", lambda: False)
    caplog.set_level(logging.INFO, "ocdnet")
    with findings.collecting() as seen:
        assert strategy.precision_of(TrainConfig(precision="bf16"), gpu=True) == "bf16-mixed"
        assert strategy.precision_of(TrainConfig(precision="fp16"), gpu=False) == "32-true"
        assert not seen.rows()
        assert strategy.precision_of(TrainConfig(precision="bf16"), gpu=False) == "bf16-mixed"
    assert [(row.code, row.key) for row in seen.rows()] == [("bf16-emulated", "train.precision")]
    assert "training in fp32 on the CPU" in caplog.text


@pytest.mark.parametrize(
    ("kind", "kept"),
    [
        ("Adam", {"amsgrad": True, "eps": 1e-7}),
        ("AdamW", {"amsgrad": True, "eps": 1e-7}),
        ("SGD", {"momentum": 0.9}),
    ],
)
def test_optimizers(scenes, tmp_path, kind, kept):
    args = ["momentum=0.9", "eps=1e-7", "weight_decay=0.01", "lr=0.001"]
    given = [f"train.optimizer.args.{arg}" for arg in args]
    support.train(scenes, tmp_path, f"train.optimizer.type={kind}", *given)
    folder = tmp_path / "train"
    group = support.load(folder / FIRST)["optimizer_states"][0]["param_groups"][0]
    assert kept.items() <= group.items()
    assert group["weight_decay"] == 0.01
    first, second = weights(folder / FIRST), weights(folder / SECOND)
    still = [key for key in first if torch.equal(first[key], second[key])]
    assert still == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("type=SGD args.amsgrad=false", "train.optimizer.args.amsgrad' is ignored: SGD has no"),
        ("type=SGD args.eps=1e-7 args.momentum=0.9", "train.optimizer.args.eps' is ignored: SGD"),
        ("type=AdamW args.momentum=0.9", "train.optimizer.args.momentum' is ignored: AdamW has"),
        ("type=SGD args.momentum=0.9", None),
        ("type=AdamW args.amsgrad=false args.eps=1e-7", None),
    ],
)
def test_arguments_of_another_optimiser_are_told(given, told, caplog):
    overrides = [f"train.optimizer.{text}" for text in given.split()]
    loaded = spec.load("train", None, support.train_overrides(Path("d"), Path("o"), *overrides))
    build_optimizer(loaded.experiment.train.optimizer, torch.nn.Linear(1, 1))
    assert caplog.text.count("is ignored") == (told is not None)
    assert (told or "") in caplog.text


def test_the_optimisers_differ(scenes, tmp_path):
    made = {}
    for kind in ("Adam", "AdamW", "SGD"):
        given = f"train.optimizer.type={kind}", "train.optimizer.args.weight_decay=0.1"
        support.train(scenes, tmp_path / kind, "train.num_epochs=1", *given)
        made[kind] = weights(tmp_path / kind / "train" / FIRST)
    assert support.differences(made["Adam"], made["AdamW"])
    assert support.differences(made["Adam"], made["SGD"])


def test_gradients_are_clipped(scenes, tmp_path):
    def moved(name, norm):
        plain = "train.optimizer.type=SGD", "train.optimizer.args.lr=1"
        clip = f"train.trainer.clip_grad_norm={norm}"
        folder = tmp_path / name
        support.train(scenes, folder, *plain, clip, "train.num_epochs=1")
        return weights(folder / "train" / FIRST)["model.head.binarize.6.weight"]

    a, b = moved("a", 1e-6), moved("b", 2e-6)
    # Four steps of length 1e-6 at most: next to nothing happens.
    assert (a - b).abs().max() < 1e-5
    assert (a - moved("c", 0.1)).abs().max() > 1e-4


def test_the_time_limit_ends_a_run_as_a_success(scenes, tmp_path):
    result = support.train(scenes, tmp_path, "train.max_minutes=0", "train.checkpoint_interval=2")
    assert result["epochs"] == 1
    assert result["checkpoints"] == [FIRST]
    assert support.status_lines(tmp_path / "train")[-1]["status"] == "SUCCESS"


def test_a_dry_run_leaves_no_checkpoint(scenes, tmp_path):
    result = support.train(scenes, tmp_path, "train.is_dry_run=true")
    assert result["dry_run"] is True
    written = sorted(path.name for path in (tmp_path / "train").iterdir())
    assert written == [".ocdnet_files.jsonl", "experiment.yaml", "status.json"]
    timing = result["timing"]
    assert (timing["steps_per_epoch"], timing["step_seconds"] > 0) == (4, True)
    whole = 4 * timing["step_seconds"] + timing["validation_seconds"]
    assert timing["epoch_seconds"] == pytest.approx(whole, abs=0.2)
    assert timing["run_seconds"] == pytest.approx(2 * timing["epoch_seconds"], abs=0.2)
    assert support.status_lines(tmp_path / "train")[-1]["status"] == "SUCCESS"


def test_the_run_may_follow_its_dry_run(scenes, tmp_path):
    support.train(scenes, tmp_path, "train.is_dry_run=true")
    assert support.train(scenes, tmp_path, "train.num_epochs=1")["checkpoints"] == [FIRST]


@pytest.mark.parametrize("path", ["pretrained", "resume"])
def test_a_non_finite_loss_ends_the_run(scenes, detector, tmp_path, path):
    poisoned = support.load(detector)
    poisoned["state_dict"]["model.head.binarize.0.weight"].fill_(1e38)  # NaN would be refused
    torch.save(poisoned, tmp_path / "poisoned.pth")
    key = {
        "pretrained": "model.pretrained_model_path",
        "resume": "train.resume_training_checkpoint_path",
    }[path]
    with pytest.raises(RunError) as caught:
        support.train(scenes, tmp_path, f"{key}={tmp_path}/poisoned.pth", "train.num_epochs=40")
    error = caught.value
    assert (error.code, error.exit_code) == ("non-finite-loss", Exit.RUN)
    assert [str(scenes) in name for name in error.got] == [True, True]
    assert support.status_lines(tmp_path / "train")[-1]["status"] == "FAILURE"
    assert not list((tmp_path / "train").glob("model_epoch_*"))


def test_pretrained_weights_are_the_start(scenes, detector, tmp_path, caplog):
    caplog.set_level(logging.INFO, "ocdnet")
    start = f"model.pretrained_model_path={detector}"
    support.train(scenes, tmp_path, start, "train.num_epochs=1", "train.optimizer.args.lr=1e-9")
    learnt = weights(detector)
    after = weights(tmp_path / "train" / FIRST)
    parameters = [key for key in learnt if "running" not in key and "num_batches" not in key]
    assert all(torch.allclose(after[key], learnt[key], atol=1e-6) for key in parameters)
    assert "0 missing, 0 unexpected, 0 of another shape" in caplog.text


def test_pretrained_weights_of_another_network(scenes, tmp_path):
    torch.save({"state_dict": {"fc.weight": torch.zeros(2)}}, tmp_path / "other.pth")
    with pytest.raises(DataError) as caught:
        support.train(scenes, tmp_path, f"model.pretrained_model_path={tmp_path}/other.pth")
    assert caught.value.code == "pretrained-mismatch"


def test_without_validation_data_the_lowest_loss_is_the_best(scenes, tmp_path):
    result = support.train(
        scenes,
        tmp_path,
        "dataset.validate_dataset.data_path=[]",
        "train.num_epochs=4",
        # Large enough to overshoot: the best epoch is then not simply the last.
        "train.optimizer.args.lr=0.05",
    )
    told = losses(tmp_path / "train")
    best = told.index(min(told))
    assert result["best_epoch"] == best
    assert result["best_metric"] == {"name": "train_loss", "value": min(told)}
    assert support.load(tmp_path / "train" / "model_best.pth")["epoch"] == best


def test_of_epochs_that_found_nothing_alike_the_one_of_the_lowest_loss_is_the_best(
    scenes, tmp_path
):
    rate = "train.optimizer.args.lr=0.00001"
    result = support.train(scenes, tmp_path, "train.num_epochs=3", rate)
    told = losses(tmp_path / "train")
    assert result["best_metric"] == {"name": "hmean", "value": 0.0}
    assert result["best_epoch"] == told.index(min(told)) > 0
    assert support.load(tmp_path / "train" / "model_best.pth")["epoch"] == result["best_epoch"]
    assert read_samples(tmp_path / "train").epoch == result["best_epoch"]


def test_the_validation_interval(scenes, tmp_path):
    result = support.train(scenes, tmp_path, "train.num_epochs=3", "train.validation_interval=2")
    lines = support.status_lines(tmp_path / "train")
    assert sum("hmean" in line.get("kpi", {}) for line in lines) == 1
    assert result["best_epoch"] == 1


def test_a_run_too_short_to_be_validated_leaves_a_model(scenes, tmp_path):
    result = support.train(scenes, tmp_path, "train.num_epochs=1", "train.validation_interval=5")
    assert result["best_epoch"] == 0
    assert result["best_metric"] == {"name": "hmean", "value": None}
    assert Path(result["best_checkpoint"]).is_file()
