"""A plan of a spec with references: resolved by what the plan itself decides, too."""

from pathlib import Path

import pytest

from ocdnet.errors import SpecError
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.policy.request import Request
from ocdnet.spec_keys import CALIBRATION_DATA
from ocdnet.tree import keys, yaml_io
from plans import build

SKILL = Skill(skill_dir())
SPEC = """\
dataset:
  train_dataset: {data_path: ["${oc.env:WORDS}/train"]}
  validate_dataset: {data_path: ["${oc.env:WORDS}/test"]}
  quant_calibration_dataset: {images_dir: "${dataset.train_dataset.data_path[0]}/img"}
train:
  num_epochs: ${oc.env:EPOCHS,12}
  results_dir: ${results_dir}/run_${.num_epochs}
evaluate:
  checkpoint: ${train.results_dir}/model_best.pth
"""


@pytest.fixture(autouse=True)
def _words(tmp_path, monkeypatch):
    for name in ("words/train/img/a.png", "words/train/gt/gt_a.txt"):
        for part in (name, name.replace("train", "test")):
            (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / part).write_bytes(b"")
    (tmp_path / "spec.yaml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORDS", "words")
    monkeypatch.delenv("EPOCHS", raising=False)


def plan(action, *overrides, **more):
    request = Request(action=action, spec="spec.yaml", overrides=overrides, **more)
    return build(request, SKILL, "ocdnet")


def test_what_the_plan_chooses_is_what_they_name():
    document = plan("train", automl_policy="off", write="p")
    assert document["missing"] == []
    assert document["outputs"]["folder"] == "results/run_12"
    assert "${" not in Path("p/train.yaml").read_text()
    tree = yaml_io.read(Path("p/train.yaml"))
    assert keys.get(tree, "dataset.validate_dataset.data_path") == ["words/test"]
    assert keys.get(tree, CALIBRATION_DATA) == "words/train/img"
    assert keys.get(tree, "train.num_epochs") == 12


def test_what_the_request_says_is_what_they_name():
    document = plan("train", "train.num_epochs=3", automl_policy="off", results_dir="mine")
    assert document["outputs"]["folder"] == "mine/run_3"


def test_a_section_that_the_action_does_not_read_is_referred_to():
    document = plan("evaluate")
    assert document["spec_overrides"]["evaluate.checkpoint"] == "results/run_12/model_best.pth"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("train.seed=${train.sed}", "'train.sed'"),
        ("results_dir=${train.results_dir}", "itself"),
        ("model_name=${x:y}", "'x'"),
    ],
)
def test_what_can_never_be_resolved_is_refused(override, told):
    with pytest.raises(SpecError, match=told) as caught:
        plan("train", override, automl_policy="off")
    assert caught.value.code == "bad-reference"


def test_what_is_not_given_is_asked_for():
    document = plan("train", "model_name=x${model.pruned_graph_path}", automl_policy="off")
    (question,) = document["missing"]
    assert question["about"] == "model.pruned_graph_path"
    assert question["blocking"]
    assert document["commands"] == []


def test_fp8_here_an_engine_beside_a_checkpoint_and_another_actions_key_are_told():
    layers = "quantize.layers=[{module_name: a, weights: {dtype: fp8_e4m3fn}}]"
    given = ("quantize.model_path=model_epoch_000_step_00001.pth", layers)
    assert any("exit 5" in warning for warning in plan("quantize", *given)["warnings"])
    there = plan("quantize", *given, platform="tao-docker")
    assert not any("exit 5" in warning for warning in there["warnings"])
    engine = plan("evaluate", "evaluate.trt_engine=a.engine")["warnings"]
    assert any("'evaluate.checkpoint' is not read" in warning for warning in engine)
    with Path("spec.yaml").open("a") as file:
        file.write("  num_gpus: 1\n")
    text = Path("spec.yaml").read_text().replace("  num_epochs", "  num_gpus: 2\n  num_epochs")
    Path("spec.yaml").write_text(text.replace("  num_gpus: 1\n", ""))
    warnings = plan("evaluate")["warnings"]
    assert any("'train.num_gpus' is not read here" in warning for warning in warnings)
