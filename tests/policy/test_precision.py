"""`--precision` sets the number format of an engine or a training, whatever its case."""

import json
import shutil

import pytest

from ocdnet.errors import UsageError
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.policy.request import Request, from_json
from plans import build

SKILL = Skill(skill_dir())
ENGINE = "gen_trt_engine.tensorrt.data_type"
TRAIN = "train.precision"


def plan(action, skill=SKILL, **given):
    return build(Request(action=action, **given), skill, "ocdnet")


@pytest.mark.parametrize("given", ["int8", "INT8", " Int8 "])
def test_an_engine_has_the_precision_that_is_asked_for(given):
    document = plan("gen_trt_engine", precision=given)
    assert document["spec_overrides"][ENGINE] == "INT8"
    assert "--calibration-dataset" in {question["about"] for question in document["missing"]}
    assert any(ENGINE in why for why in document["why"])


@pytest.mark.parametrize("action", ["train", "retrain", "resume"])
def test_a_training_computes_in_it(action):
    assert plan(action, precision="BF16")["spec_overrides"][TRAIN] == "bf16"


def test_json_says_the_same_as_the_flag():
    told = json.dumps({"action": "gen_trt_engine", "precision": "Fp16"})
    assert from_json(told) == Request(action="gen_trt_engine", precision="FP16")


@pytest.mark.parametrize(
    ("action", "precision"),
    [("gen_trt_engine", "bf16"), ("train", "int8"), ("gen_trt_engine", "int4"), ("export", "")],
)
def test_one_that_the_action_has_not_is_refused_with_those_it_has(action, precision):
    with pytest.raises(UsageError) as raised:
        plan(action, precision=precision)
    assert raised.value.code == "bad-choice"
    assert "fp32" in str(raised.value.expected)


@pytest.mark.parametrize(
    "action", ["evaluate", "inference", "export", "prune", "quantize", "default_specs"]
)
def test_elsewhere_it_has_no_effect_and_says_so(action):
    warnings = plan(action, precision="fp16")["warnings"]
    (told,) = [warning for warning in warnings if "--precision has no effect" in warning]
    assert "gen_trt_engine" in told


@pytest.mark.parametrize(
    ("action", "override"),
    [("gen_trt_engine", f"{ENGINE}=FP16"), ("train", f"{TRAIN}=bf16"), ("train", f"+{TRAIN}=bf16")],
)
def test_an_override_that_says_something_else_is_refused(action, override):
    with pytest.raises(UsageError) as raised:
        plan(action, precision="fp32", overrides=(override,))
    assert raised.value.code == "contradiction"


def test_an_override_that_says_the_same_is_fine():
    document = plan("gen_trt_engine", precision="fp16", overrides=(f"{ENGINE}=FP16",))
    assert document["spec_overrides"][ENGINE] == "FP16"


def test_it_goes_before_the_users_own_file(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("gen_trt_engine: {tensorrt: {data_type: FP16}}\n")
    document = plan("gen_trt_engine", spec=str(own), precision="fp32")
    assert ENGINE not in document["spec_overrides"]


def test_without_a_schema_it_is_not_dropped_in_silence(tmp_path):
    for name in ("schemas", "references"):
        shutil.copytree(skill_dir() / name, tmp_path / name)
    (tmp_path / "schemas/train.schema.json").unlink()
    document = plan("train", Skill(tmp_path), precision="bf16")
    assert any("--precision has no effect" in warning for warning in document["warnings"])
