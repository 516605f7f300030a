"""The real network, with every thread the machine has, is reproducible bit for bit on the CPU."""

from __future__ import annotations

import pytest

import support

MIDDLE, LAST = "model_epoch_000_step_00003.pth", "model_epoch_001_step_00008.pth"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_repeated_and_resumed_runs_are_equal(scenes, tmp_path, precision):
    def run(name, *more):
        given = {
            "checkpoint_interval": 3,
            "checkpoint_interval_unit": "step",
            "model_ema": "true",
            "precision": precision,
        }
        options = [f"train.{key}={value}" for key, value in given.items()]
        support.train(scenes, tmp_path / name, *options, *more)
        return {**support.load(tmp_path / name / "train" / LAST), "ocdnet_spec": None}

    first = run("first")
    assert support.differences(first, run("second")) == []
    start = f"train.resume_training_checkpoint_path={tmp_path}/first/train/{MIDDLE}"
    assert support.differences(first, run("resumed", start)) == []
