"""What a run tells of its speed: images a second, and the share of time spent waiting for data."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

import support
from ocdnet.training import pace as pace_module
from ocdnet.training.pace import Pace, ProgressBar, ProgressLines


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(pace_module, "time", clock)
    return clock


def run(pace, clock, wait, work, batches=4, world=1):
    """Batches of two images that take so many seconds to come and to be learnt from."""
    epochs = {"current_epoch": 1, "max_epochs": 4, "num_training_batches": 30}
    trainer = SimpleNamespace(world_size=world, **epochs)
    pace.on_train_epoch_start(trainer, None)
    for number in range(batches):
        clock.now += wait
        pace.on_train_batch_start(trainer, None, {}, number)
        clock.now += work
        pace.on_train_batch_end(trainer, None, None, SimpleNamespace(paths=["a", "b"]), number)


def test_pace(clock):
    pace = Pace()
    assert (pace.images_per_second, pace.waiting) == (0.0, 0.0)
    run(pace, clock, wait=0.5, work=1.5)
    assert pace.images_per_second == pytest.approx(1.0)
    assert pace.waiting == pytest.approx(0.25)
    clock.now += 60  # a validation: it is no waiting for training data
    run(pace, clock, wait=0.0, work=0.5, world=3)
    assert pace.images_per_second == pytest.approx(12.0)
    assert pace.waiting == 0.0


def test_the_first_steps_tell_how_long_the_rest_will_take(clock, caplog):
    with caplog.at_level(logging.INFO, logger="ocdnet"):
        run(Pace(), clock, wait=1.0, work=5.0, batches=12)
    assert caplog.messages == ["About 8 min of training to go, by the first steps."]


def test_the_lines_tell_it(clock, caplog):
    pace = Pace()
    lines = ProgressLines(pace)
    run(pace, clock, wait=1.0, work=9.0)
    trainer = SimpleNamespace(
        current_epoch=0,
        max_epochs=3,
        num_training_batches=8,
        accumulate_grad_batches=1,
        callback_metrics={"train_loss_step": 2.5},
    )
    with caplog.at_level(logging.INFO, logger="ocdnet"):
        lines.on_train_batch_end(trainer, None, None, None, 3)
    (line,) = caplog.messages
    assert "epoch 1/3  step 4/8" in line
    assert "0.20 images a second, 10.0 % of the time waiting for data" in line


def test_short_epochs_have_lines_too(clock, caplog):
    pace = Pace()
    lines = ProgressLines(pace)
    trainer = SimpleNamespace(
        current_epoch=0,
        max_epochs=9,
        num_training_batches=1,
        accumulate_grad_batches=1,
        callback_metrics={},
    )
    with caplog.at_level(logging.INFO, logger="ocdnet"):
        for _ in range(4):
            run(pace, clock, wait=0.5, work=2.0)
            lines.on_train_epoch_start(trainer, None)
            lines.on_train_batch_end(trainer, None, None, None, 0)
    assert len([line for line in caplog.messages if line.startswith("epoch")]) == 1


def test_the_bar_shows_it(clock, monkeypatch):
    monkeypatch.setattr(pace_module.RichProgressBar, "get_metrics", lambda *_: {"train_loss": 2.5})
    pace = Pace()
    run(pace, clock, wait=0.5, work=1.5)
    shown = ProgressBar(pace).get_metrics(None, None)
    assert shown == {"train_loss": 2.5, "images/s": "1.00", "waiting": "25.0%"}


@pytest.mark.slow
@pytest.mark.usefixtures("small_network")
def test_a_compiled_network_trains_to_the_same_checkpoints(scenes, tmp_path):
    plain = support.train(scenes, tmp_path / "plain", "train.num_epochs=1")
    compiled = support.train(
        scenes, tmp_path / "compiled", "train.num_epochs=1", "train.compile=true"
    )
    left, right = (support.load(run["best_checkpoint"]) for run in (plain, compiled))
    assert left["state_dict"].keys() == right["state_dict"].keys()
    losses = [
        line["kpi"]["train_loss"]
        for run in ("plain", "compiled")
        for line in support.status_lines(tmp_path / run / "train")
        if "train_loss" in line.get("kpi", {})
    ]
    assert losses[-1] == pytest.approx(losses[0], rel=0.05)
