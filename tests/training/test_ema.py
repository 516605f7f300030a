"""The moving average of the weights: its numbers, what sees it, what a resumed run makes of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import support
from ocdnet.training import ema

EMA = "train.model_ema=true"
EACH_STEP = ("train.checkpoint_interval=1", "train.checkpoint_interval_unit=step")
LAST = "model_epoch_001_step_00008.pth"


@pytest.fixture(scope="module")
def averaged(scenes, tmp_path_factory):
    """The folder of 2 epochs of 4 steps with an average, a checkpoint each step."""
    out = tmp_path_factory.mktemp("averaged")
    with pytest.MonkeyPatch.context() as patch:
        support.shrink_network(patch)
        support.train(scenes, out, EMA, *EACH_STEP)
    return out / "train"


@given(st.floats(0, 1), st.integers(1, 10**7))
def test_the_decay_grows_to_the_one_given(decay, updates):
    now, later = ema.ema_decay(decay, updates), ema.ema_decay(decay, updates + 1)
    assert 0 <= now <= later <= decay


def test_each_step_moves_the_average_by_taos_formula(averaged):
    paths = sorted(averaged.glob("model_epoch_*.pth"), key=lambda path: path.name[-9:])
    assert len(paths) == 8
    before = support.load(paths[0])
    for number, path in enumerate(paths[1:], 2):
        now = support.load(path)
        trained = now[ema.EMA_KEY]["trained"]
        assert now[ema.EMA_KEY]["updates"] == number
        # TAO: decay (1 - exp(-updates / 2000)), over all entries of the state.
        decay = 0.9999 * (1 - np.exp(-number / 2000))
        for key, average in now["state_dict"].items():
            old, new = (tree.double() for tree in (before["state_dict"][key], trained[key]))
            expected = decay * old + (1 - decay) * new
            if key.endswith("num_batches_tracked"):
                assert average == trained[key] == number
            else:
                assert torch.allclose(average.double(), expected, rtol=1e-6, atol=1e-7), key
        before = now


def test_training_is_what_it_is_without(averaged, scenes, tmp_path, small_network):
    support.train(scenes, tmp_path)
    plain = support.load(tmp_path / "train" / LAST)
    with_average = support.load(averaged / LAST)
    assert not support.differences(plain["state_dict"], with_average[ema.EMA_KEY]["trained"])
    assert support.differences(plain["state_dict"], with_average["state_dict"])


def test_the_average_is_validated_and_kept_as_the_model(
    scenes, detector, tmp_path, small_network, monkeypatch
):
    """An average that never moves from a good start, while the steps ruin the weights."""
    monkeypatch.setattr(ema, "ema_decay", lambda *_: 1.0)
    good = support.evaluate(scenes / "test", detector, tmp_path / "good")["hmean"]
    ruin = ["train.optimizer.type=SGD", "train.optimizer.args.lr=1"]
    start = f"model.pretrained_model_path={detector}"
    result = support.train(scenes, tmp_path, EMA, start, *ruin)
    assert good > 0.9
    assert result["best_metric"]["value"] == good
    best = tmp_path / "train" / "model_best.pth"
    assert support.evaluate(scenes / "test", best, tmp_path / "best")["hmean"] == good
    trained = support.load(best)[ema.EMA_KEY]["trained"]
    torch.save({"state_dict": trained}, tmp_path / "trained.pth")
    ruined = support.evaluate(scenes / "test", tmp_path / "trained.pth", tmp_path / "ruined")
    assert ruined["hmean"] < good


def resumed(scenes, out, start, *more):
    start = f"train.resume_training_checkpoint_path={start}"
    support.train(scenes, out, start, *more)
    return support.load(out / "train" / LAST)


def test_switched_off_the_run_goes_on_from_the_trained_weights(
    averaged, scenes, tmp_path, small_network
):
    whole = support.load(averaged / LAST)
    off = resumed(scenes, tmp_path, averaged / "model_epoch_000_step_00004.pth")
    assert ema.EMA_KEY not in off
    assert not support.differences(off["state_dict"], whole[ema.EMA_KEY]["trained"])


def test_switched_on_the_average_starts_there(averaged, scenes, tmp_path, small_network, caplog):
    caplog.set_level("INFO", "ocdnet")
    support.train(scenes, tmp_path / "plain", "train.num_epochs=1")
    plain = tmp_path / "plain" / "train" / "model_epoch_000_step_00004.pth"
    on = resumed(scenes, tmp_path / "on", plain, EMA)
    assert on[ema.EMA_KEY]["updates"] == 4
    assert "train.model_ema starts here" in caplog.text
