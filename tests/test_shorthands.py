"""Short names of keys in overrides, as skill_info.yaml lists them."""

from __future__ import annotations

import pytest

from ocdnet.catalogue import PLANNED
from ocdnet.config import schema, spec
from ocdnet.errors import SpecError, UsageError
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.policy.request import Request
from ocdnet.shorthands import DEPLOY, TRAIN, expanded
from ocdnet.tree import keys
from plans import build

SKILL = Skill(skill_dir())
DATA = "dataset.train_dataset.data_path=[/t]"
EXPERIMENT = schema.experiment()


def planned(action, *overrides, **more):
    return build(Request(action=action, overrides=overrides, **more), SKILL, "ocdnet")


@pytest.mark.parametrize("name", TRAIN)
def test_each_sets_its_key_of_a_training(name):
    key = TRAIN[name]
    value = {"backbone": "fan_tiny_8_p4_hybrid", "precision": "bf16"}.get(name, 1)
    loaded = spec.load("train", None, [DATA, f"{name}={value}"])
    assert keys.get(spec.dump(loaded), key) == value


@pytest.mark.parametrize("name", DEPLOY)
def test_each_of_the_deploy_file_is_read_by_an_action_of_it(name):
    readers = []
    for action in ("gen_trt_engine", "deploy_evaluate", "deploy_inference"):
        try:
            (override,) = expanded([f"{name}=1"], PLANNED[action], EXPERIMENT)
        except SpecError:
            continue
        assert override == f"{DEPLOY[name]}=1"
        readers.append(action)
    assert readers


def test_signs_of_hydra_and_dotted_keys_stay():
    given = ["++epochs=3", "+epochs=3", "train.seed=1", "results_dir=/r", "~epochs", "epoch=3"]
    assert expanded(given, PLANNED["train"], EXPERIMENT) == (
        "++train.num_epochs=3",
        "+train.num_epochs=3",
        "train.seed=1",
        "results_dir=/r",
        "~train.num_epochs",
        "epoch=3",
    )


def test_none_shadows_a_key_of_the_experiment():
    assert not {*TRAIN, *DEPLOY} & set(EXPERIMENT["properties"])


def test_a_name_with_two_meanings_is_the_one_that_the_action_reads():
    override = ["batch_size=4"]
    (trained,) = expanded(override, PLANNED["retrain"], EXPERIMENT)
    (built,) = expanded(override, PLANNED["gen_trt_engine"], EXPERIMENT)
    assert trained == "dataset.train_dataset.loader.batch_size=4"
    assert built == "gen_trt_engine.batch_size=4"
    (scored,) = expanded(["thresh=0.4"], PLANNED["evaluate"], EXPERIMENT)
    assert scored == "evaluate.post_processing.args.thresh=0.4"


@pytest.mark.parametrize(
    ("action", "override", "meant"),
    [
        ("evaluate", "batch_size=4", "evaluate.batch_size"),
        ("inference", "box_thresh=0.4", "inference.post_processing.args.box_thresh"),
        ("inference", "num_gpus=2", "inference.num_gpus"),
        ("export", "epochs=3", None),
    ],
)
def test_one_that_the_action_does_not_read_is_refused(action, override, meant):
    for refused in (
        lambda: planned(action, override),
        lambda: spec.load(action, None, [override]),
    ):
        with pytest.raises(SpecError) as caught:
            refused()
        assert caught.value.code == "key-not-read"
        assert caught.value.hint == (meant and f"Did you mean {meant!r}?")
        assert "backbone" in caught.value.expected


def test_a_plan_shows_the_dotted_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t").mkdir()
    (tmp_path / "t/img").mkdir()
    (tmp_path / "t/gt").mkdir()
    (tmp_path / "t/img/a.jpg").write_bytes(b"")
    (tmp_path / "t/gt/gt_a.txt").write_text("")
    overrides = ("epochs=7", "learning_rate=0.05")
    plan = planned("train", *overrides, train_datasets=("t",), automl_policy="off")
    assert plan["spec_overrides"]["train.num_epochs"] == 7
    assert plan["spec_overrides"]["train.optimizer.args.lr"] == 0.05
    first = plan["commands"][0]
    assert "--set train.num_epochs=7 --set train.optimizer.args.lr=0.05" in first


def test_a_plan_sees_what_contradicts_a_flag():
    with pytest.raises(UsageError) as caught:
        planned("train", "precision=fp32", precision="bf16")
    assert caught.value.code == "contradiction"
