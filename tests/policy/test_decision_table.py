"""The decision table of the AutoML policy: a test a row, each on a copy of the real skill."""

import shutil
from pathlib import Path

import pytest

from ocdnet.catalogue import PLANNED
from ocdnet.errors import UsageError
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.policy.request import Request, from_json, policy_value
from plans import build

OFF_PHRASES = [
    "turn off AutoML",
    "disable AutoML",
    "no HPO",
    "no AutoML",
    "plain training",
    "normal training",
]


@pytest.fixture
def skill(tmp_path):
    """A copy of this skill's generated files, which a test may spoil."""
    for name in ("schemas", "references"):
        shutil.copytree(skill_dir() / name, tmp_path / "skill" / name)
    return Skill(tmp_path / "skill")


@pytest.fixture
def train(tmp_path):
    split = tmp_path / "train"
    for name in ("img/a.png", "gt/gt_a.txt"):
        (split / name).parent.mkdir(parents=True)
        (split / name).touch()
    return str(split)


def planned(skill, train, *, action="train", **request):
    return build(Request(action=action, train_datasets=(train,), **request), skill, "ocdnet")


def damage(skill, name, text):
    (skill.root / name).write_text(text)


def disable(skill):
    path = skill.root / "references/skill_info.yaml"
    path.write_text(path.read_text().replace("automl_enabled: true", "automl_enabled: false"))


@pytest.mark.parametrize("given", [None, "on"])
def test_train_goes_to_automl(skill, train, given):
    here = planned(skill, train, automl_policy=given)["route"]
    assert (here["kind"], here["runner"]) == ("automl", "ocdnet automl")
    assert (here["metric"], here["direction"]) == ("train_loss", "minimize")
    route = planned(skill, train, automl_policy=given, platform="tao-docker")["route"]
    assert (route["runner"], route["skill"]) == ("skill", "tao-skill-bank:tao-run-automl")
    assert (route["log_alias"], route["monitor"]) == ("train_loss_epoch", "hmean")
    assert Path(route["skill_dir"]) == skill.root


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("text", ["", "train with AutoML"])
def test_off_is_direct_for_this_run_and_changes_no_metadata(skill, train, enabled, text):
    if not enabled:
        disable(skill)
    before = (skill.root / "references/skill_info.yaml").read_bytes()
    plan = planned(skill, train, automl_policy="off", text=text)
    assert plan["route"] == {"kind": "direct"}
    assert any("this time only" in why for why in plan["why"])
    assert (skill.root / "references/skill_info.yaml").read_bytes() == before


@pytest.mark.parametrize("words", OFF_PHRASES)
def test_words_turn_it_off_where_no_value_is_given(skill, train, words):
    assert planned(skill, train, text=words)["route"] == {"kind": "direct"}


@pytest.mark.parametrize("given", [None, "on"])
@pytest.mark.parametrize(
    "broken",
    [
        ("schemas/train.schema.json", None),
        ("schemas/train.schema.json", '{"properties": '),
        ("schemas/train.schema.json", "[]"),
        ("references/spec_template_train.yaml", None),
        ("references/spec_template_train.yaml", "a: [1"),
    ],
    ids=["no schema", "schema cut off", "schema a list", "no template", "template cut off"],
)
def test_without_schema_or_template_it_is_direct_and_says_so(skill, train, given, broken):
    name, text = broken
    (skill.root / name).unlink() if text is None else damage(skill, name, text)
    plan = planned(skill, train, automl_policy=given, overrides=("train.num_epochs=4",))
    assert plan["route"] == {"kind": "direct"}
    told = "AutoML is enabled but not runnable until schemas are generated"
    assert any(why.startswith(told) for why in plan["why"])
    assert plan["spec_overrides"]["train.num_epochs"] == 4
    assert plan["spec_overrides"]["dataset.train_dataset.data_path"] == [train]


@pytest.mark.parametrize("action", ["train", "resume", "retrain", "evaluate", "gen_trt_engine"])
@pytest.mark.parametrize("text", [None, "a: [1"])
@pytest.mark.parametrize("platform", ["local", "docker"])
def test_a_template_that_is_missing_is_in_no_command(
    skill, train, tmp_path, action, text, platform
):
    template = f"references/spec_template_{PLANNED[action].spec}.yaml"
    (skill.root / template).unlink() if text is None else damage(skill, template, text)
    answers = {
        "resume": ("train.resume_training_checkpoint_path=/m/a.pth", "train.num_epochs=99"),
        "retrain": ("model.pruned_graph_path=/m/a.pth",),
        "evaluate": ("evaluate.checkpoint=/m/a.pth",),
        "gen_trt_engine": ("gen_trt_engine.onnx_file=/m/a.onnx", "gen_trt_engine.trt_engine=/m/a"),
    }
    given = {"action": action, "platform": platform, "eval_datasets": (train,)}
    given |= {"overrides": answers.get(action, ()), "automl_policy": "off"}
    written = planned(skill, train, write=str(tmp_path / "run"), **given)
    for plan in (written, planned(skill, train, **given)):
        assert plan["commands"]
        assert not any("spec_template" in command for command in plan["commands"])


@pytest.mark.parametrize("given", [None, "on"])
def test_a_model_that_is_not_enabled_is_direct_and_says_so(skill, train, given):
    disable(skill)
    plan = planned(skill, train, automl_policy=given)
    assert plan["route"] == {"kind": "direct"}
    assert any("not AutoML-enabled" in why for why in plan["why"])


@pytest.mark.parametrize(
    ("given", "words", "kind"),
    [("on", "plain training", "automl"), ("off", "use AutoML", "direct")],
)
def test_the_explicit_value_wins_over_words_and_the_conflict_is_told(
    skill, train, given, words, kind
):
    plan = planned(skill, train, automl_policy=given, text=words)
    assert plan["route"]["kind"] == kind
    assert any("the words say" in warning for warning in plan["warnings"])
    (question,) = plan["missing"]
    assert question["about"] == "--automl-policy"
    assert not question["blocking"]


@pytest.mark.parametrize("action", ["train", "retrain", "resume"])
def test_words_that_say_both_block_the_plan(skill, train, tmp_path, action):
    given = {"text": "Use AutoML, but no hyperparameter search", "write": str(tmp_path / "out")}
    plan = planned(skill, train, action=action, **given)
    assert {"about": "--automl-policy", "blocking": True}.items() <= plan["missing"][0].items()
    assert plan["commands"] == []
    assert "files" not in plan
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("given", "kind"), [("on", "automl"), ("off", "direct")])
def test_an_explicit_value_answers_words_that_say_both(skill, train, given, kind):
    plan = planned(skill, train, automl_policy=given, text="Use AutoML, but no HPO")
    assert plan["route"]["kind"] == kind
    assert any("words say both" in warning for warning in plan["warnings"])
    assert plan["missing"] == []
    assert plan["commands"]


@pytest.mark.parametrize("action", ["evaluate", "export", "default_specs"])
def test_words_that_say_both_matter_to_no_other_action(skill, action):
    texts = ("Use AutoML, but no HPO", "")
    both, silent = (build(Request(action=action, text=text), skill, "ocdnet") for text in texts)
    assert both == silent


@pytest.mark.parametrize(
    ("value", "policy"), [(True, "on"), (False, "off"), ("true", "on"), ("False", "off")]
)
def test_booleans_read_as_on_and_off(value, policy):
    assert policy_value(value) == policy


@pytest.mark.parametrize("value", ["maybe", "", 1, None, "auto"])
def test_any_other_value_is_an_error_that_names_on_and_off(value):
    with pytest.raises(UsageError) as raised:
        policy_value(value)
    assert "on or off" in str(raised.value)


def test_a_bad_policy_in_json_is_refused():
    with pytest.raises(UsageError):
        from_json('{"action": "train", "automl_policy": "sometimes"}')


@pytest.mark.parametrize("action", ["retrain", "resume"])
def test_retrain_and_resume_are_direct(skill, train, action):
    assert planned(skill, train, action=action)["route"] == {"kind": "direct"}


@pytest.mark.parametrize("action", ["retrain", "resume"])
@pytest.mark.parametrize("how", [{"automl_policy": "on"}, {"text": "with AutoML"}])
def test_retrain_and_resume_go_to_automl_where_it_is_asked_for(skill, train, action, how):
    assert planned(skill, train, action=action, **how)["route"]["kind"] == "automl"


@pytest.mark.parametrize("action", ["evaluate", "inference", "export", "prune", "quantize"])
@pytest.mark.parametrize("given", [None, "on", "off"])
def test_all_others_are_direct(skill, action, given):
    plan = build(Request(action=action, automl_policy=given), skill, "ocdnet")
    assert plan["route"] == {"kind": "direct"}
    assert any("no effect" in warning for warning in plan["warnings"]) == (given == "on")


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine without any agent's folder: home, and the folder to work in."""
    for name in ("home", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    for variable in ("TAO_SKILL_BANK_PATH", "CLAUDE_CONFIG_DIR", "CODEX_HOME"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def lay(folder):
    (folder / "tao-run-automl").mkdir(parents=True)
    (folder / "tao-run-automl" / "SKILL.md").touch()
    return str(folder / "tao-run-automl")


@pytest.mark.parametrize("group", ["applications", ".", "models"])
def test_nvidias_bank_counts_as_installed(skill, train, nowhere, monkeypatch, group):
    monkeypatch.setenv("TAO_SKILL_BANK_PATH", str(nowhere / "bank"))
    assert planned(skill, train)["route"]["runner"] == "ocdnet automl"
    found = lay(nowhere / "bank/skills" / group)
    route = planned(skill, train)["route"]
    assert (route["runner"], route["skill_found_at"]) == ("skill", found)
    assert "install" not in route


@pytest.mark.parametrize("home", ["home", "work"])
@pytest.mark.parametrize(
    "agent",
    [".claude", ".agents", ".codex", ".cursor", ".gemini", ".config/goose", ".codeium/windsurf"],
)
def test_an_agents_folder_counts_as_installed(skill, train, nowhere, home, agent):
    found = lay(nowhere / home / agent / "skills")
    route = planned(skill, train)["route"]
    assert (route["runner"], Path(route["skill_found_at"])) == ("skill", Path(found))


def test_a_folder_without_its_skill_md_does_not(skill, train, nowhere):
    (nowhere / "home/.claude/skills/tao-run-automl").mkdir(parents=True)
    assert planned(skill, train)["route"]["runner"] == "ocdnet automl"


def test_overrides_survive_the_routing(skill, train, tmp_path):
    plan = planned(
        skill,
        train,
        results_dir=str(tmp_path / "out"),
        overrides=("train.num_gpus=2", "model.pretrained_model_path=/weights.pth"),
    )
    assert plan["route"]["kind"] == "automl"
    assert plan["spec_overrides"] == {
        "results_dir": str(tmp_path / "out"),
        "dataset.train_dataset.data_path": [train],
        "model.pretrained_model_path": "/weights.pth",
        "train.num_gpus": 2,
        "train.gpu_ids": [0, 1],
    }


def test_a_one_epoch_smoke_run_has_no_warm_up(skill, train):
    plan = planned(skill, train, overrides=("train.num_epochs=1",))
    assert plan["spec_overrides"]["train.lr_scheduler.args.warmup_epoch"] == 0
