"""What a plan costs an agent: tokens of o200k, reasons, nothing said twice."""

from __future__ import annotations

import bpe_openai
import pytest

import support
from ocdnet import hardware
from ocdnet.cli.shared import laid_out
from ocdnet.policy import starting
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.policy.request import Request
from plans import build

TOKENS = bpe_openai.get_encoding("o200k_base")
SKILL = Skill(skill_dir())
MOST, MOST_OF_FEW = 640, 820
"""Tokens of a plan; of a training of few images, which has the recipe's settings."""


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A user's folder: 60 photos, a finished training, its export; two CPUs and no GPU."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hardware, "gpus", lambda: 0)
    monkeypatch.setattr(hardware, "has_bf16", lambda: True)
    monkeypatch.setattr(starting, "cpus", lambda: 2)
    monkeypatch.setattr(starting, "FEW", 2000)
    support.write_blocks(tmp_path / "photos/train", 60, seed=0)
    support.write_blocks(tmp_path / "photos/test", 20, seed=1)
    for job, name in (("train", "model_best.pth"), ("export", "detector.onnx")):
        (tmp_path / "results" / job).mkdir(parents=True)
        (tmp_path / "results" / job / name).write_bytes(b"a model")
    (tmp_path / "results/train/model_epoch_000_step_00001.pth").write_bytes(b"a model")
    return tmp_path


PHOTOS = {"train_datasets": ("photos",)}
PLANS = {
    "search": {"action": "train", **PHOTOS},
    "train": {"action": "train", "text": "no HPO", **PHOTOS},
    "longer": {"action": "train", "text": "no HPO", "overrides": ("train.num_epochs=99",),
               **PHOTOS},
    "evaluate": {"action": "evaluate", "parent": "results", "eval_datasets": ("photos/test",)},
    "inference": {"action": "inference", "parent": "results",
                  "inference_dataset": "photos/test/img"},
    "export": {"action": "export", "parent": "results/train"},
    "prune": {"action": "prune", "parent": "results/train", "eval_datasets": ("photos/test",)},
    "quantize": {"action": "quantize", "parent": "results/train", **PHOTOS},
    "engine": {"action": "gen_trt_engine", "parent": "results/export"},
    "resume": {"action": "resume", "parent": "results/train", "overrides": ("train.num_epochs=9",),
               "train_datasets": ("photos/train",)},
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
def test_a_typical_plan_is_short(places, name):
    document = build(Request(**PLANS[name]), SKILL, "ocdnet")
    few = name in ("search", "train", "longer")
    assert len(TOKENS.encode(laid_out(document))) <= (MOST_OF_FEW if few else MOST)
    assert len(document["why"]) <= 8


def test_an_override_stands_in_it_once(places):
    text = laid_out(build(Request(**PLANS["train"]), SKILL, "ocdnet"))
    assert text.count("WordCrop") == 1
    assert text.count("photos/test") <= 3  # the key, its reason, the summary


def test_the_rest_of_the_reasons_is_in_the_full_plan(places, monkeypatch):
    from ocdnet.policy import plan as planning

    whole = build(Request(**PLANS["search"], full=True), SKILL, "ocdnet")["why"]
    monkeypatch.setattr(planning, "_REASONS", 2)
    assert build(Request(**PLANS["search"]), SKILL, "ocdnet")["why"] == whole[:2]
    assert build(Request(**PLANS["search"], full=True), SKILL, "ocdnet")["why"] == whole
