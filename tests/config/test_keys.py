"""TAO OCDNet's keys: tests/golden/tao_spec_keys.json was read off TAO's published schemas."""

import json
from pathlib import Path

import pytest

from ocdnet.config import schema
from ocdnet.config.actions import ACTIONS

KEYS = json.loads((Path(__file__).parents[1] / "golden/tao_spec_keys.json").read_text())["keys"]

# DESIGN.md section 3; an unset list is [] (section 4).
DEFAULTS = {
    "dataset.train_dataset.loader.num_workers": -1,
    "dataset.validate_dataset.loader.num_workers": -1,
    "export.opset_version": 19,
    "gen_trt_engine.tensorrt.calibration.cal_image_dir": [],
    "wandb.enable": False,
}
SIDES = [
    f"{name}.{s}" for name in ("export", "inference", "gen_trt_engine") for s in ("width", "height")
]
MINIMA = {
    "dataset.train_dataset.loader.num_workers": -1,
    "dataset.validate_dataset.loader.num_workers": -1,
    "train.lr_scheduler.args.warmup_epoch": 0,
    **dict.fromkeys(SIDES, 32),
}
MAXIMA = {"train.optimizer.args.lr": 1, "train.optimizer.args.weight_decay": 1}
OURS = {"train.max_minutes"}

LEAVES = dict(schema.leaves())


def test_the_keys_are_taos_and_ours():
    assert set(LEAVES) == set(KEYS) | OURS


@pytest.mark.parametrize("key", KEYS)
def test_key_is_taos(key):
    tao, ours = KEYS[key], LEAVES[key]
    assert schema.core(ours)["type"] == tao["type"]
    assert ours["default"] == DEFAULTS.get(key, tao["default"])
    assert ours.get("minimum") == MINIMA.get(key, tao.get("minimum"))
    assert ours.get("maximum") == MAXIMA.get(key, tao.get("maximum"))
    for name in ("pattern", "math_cond", "automl_enabled"):
        assert ours.get(name) == tao.get(name)
    if "enum" in tao:
        assert ours["enum"] == tao["enum"]
    if tao.get("popular"):
        assert ours["popular"]


@pytest.mark.parametrize("key", LEAVES)
def test_key_is_described(key):
    assert LEAVES[key]["description"].endswith(".")


def test_actions_name_keys_and_sections_that_exist():
    for action in ACTIONS.values():
        assert action.section in action.sections
        assert {*action.required, *action.defaults} <= set(LEAVES)
        assert set(action.sections) <= set(schema.experiment()["properties"])
