"""The recipe for few images is a spec that trains, and that a plan can start from."""

from __future__ import annotations

from pathlib import Path

import pytest

import support
from ocdnet.actions import train
from ocdnet.config import spec
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.policy.request import Request
from plans import build

RECIPE = skill_dir() / "references/recipe_few_images.yaml"


def test_it_trains(scenes, tmp_path, small_network):
    overrides = [
        f"results_dir={tmp_path}",
        f"dataset.train_dataset.data_path=[{scenes}/train]",
        "dataset.train_dataset.loader.num_workers=0",
        "train.num_epochs=1",
    ]
    result = train.run(spec.load("train", RECIPE, overrides))
    assert Path(result.best_checkpoint).is_file()


@pytest.mark.parametrize("spec", [None, str(RECIPE)])
def test_a_plan_for_few_images_starts_from_it(tmp_path, spec):
    support.write_blocks(tmp_path / "words", 2, seed=0)
    given = {"action": "train", "train_datasets": (str(tmp_path / "words"),)}
    given["overrides"] = ("model.preset=base",)
    plan = build(Request(spec=spec, **given), Skill(skill_dir()), "ocdnet")
    changes = plan["spec_overrides"]
    assert changes["train.optimizer.args.lr"] == 0.0003
    assert changes["dataset.train_dataset.loader.batch_size"] == 4
