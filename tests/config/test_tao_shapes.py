"""What NVIDIA's specs, notebooks and templates hold is read as their owners mean it."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocdnet.config import schema, spec
from ocdnet.config.dataset import STEPS
from ocdnet.data import steps as data_steps
from ocdnet.data.steps import compile_train
from ocdnet.errors import EnvironmentFault, SpecError
from ocdnet.presets import PRESET
from ocdnet.tree import keys, nodes

SPECS = Path(__file__).parents[1] / "specs" / "valid"
FILLED = {
    "dataset": {
        "train_dataset": {"data_path": ["/data/train"]},
        "validate_dataset": {"data_path": ["/data/test"]},
    },
    "results_dir": "/r",
}
CHOICES = [
    (key, choice)
    for key, node in schema.leaves()
    for choice in nodes.core(node).get("enum", ())
    if isinstance(choice, str) and choice.lower() != choice.upper() and key != PRESET
]


def values(action, name, *overrides):
    return spec.dump(spec.load(action, SPECS / action / f"{name}.yaml", overrides))


def test_a_training_spec_with_references(monkeypatch):
    for name in ("RESULTS", "EPOCHS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATA", "/mnt/words")
    tree = values("train", "tao_references")
    assert tree["results_dir"] == "/results"
    assert tree["train"]["results_dir"] == "/results/run_30"
    assert tree["train"]["num_epochs"] == 30
    assert (tree["train"]["precision"], tree["train"]["distributed_strategy"]) == ("fp16", "ddp")
    assert tree["dataset"]["train_dataset"]["data_path"] == ["/mnt/words/train"]
    assert tree["dataset"]["train_dataset"]["args"]["img_mode"] == "BGR"
    given = values("train", "tao_references", "results_dir=/mine", "train.num_epochs=2")
    assert given["train"]["results_dir"] == "/mine/run_2"
    exported = spec.dump(spec.load("export", SPECS / "train" / "tao_references.yaml"))
    assert exported["export"]["checkpoint"] == "/results/run_30/model_best.pth"


def test_a_quantize_spec_with_references_capitals_and_fp8():
    tree = values("quantize", "tao_references_and_fp8")
    section, data = tree["quantize"], tree["dataset"]
    assert section["model_path"] == "/results/train/model_epoch_001_step_00046.pth"
    assert (section["backend"], section["mode"], section["device"]) == (
        "torchao",
        "static_ptq",
        "cuda",
    )
    assert data["validate_dataset"]["data_path"] == ["/data/train"]
    assert data["quant_calibration_dataset"]["images_dir"] == "/data/train/img"


def test_fp8_is_refused_here_and_said_before(tmp_path):
    from ocdnet.actions import quantize

    path = SPECS / "quantize" / "tao_references_and_fp8.yaml"
    loaded = spec.load("quantize", path, [f"results_dir={tmp_path}"])
    assert any("fp8" in notice and "tao-docker" in notice for notice in loaded.notices)
    with pytest.raises(EnvironmentFault) as caught:
        quantize.run(loaded)
    assert (caught.value.code, caught.value.exit_code) == ("no-fp8", 5)
    assert "Conv2d" in caught.value.got
    assert "head.*" not in caught.value.got
    assert "--target tao" in caught.value.hint
    with pytest.raises(SpecError, match="not made here"):
        spec.load("quantize", path, ["quantize.layers=[{module_name: a, weights: {dtype: int4}}]"])


def test_an_engine_spec_in_small_letters():
    section = values("gen_trt_engine", "tao_small_letters")["gen_trt_engine"]
    assert section["tensorrt"]["data_type"] == "INT8"
    assert section["img_mode"] == "RGB"
    assert section["onnx_file"] == "/results/export/model.onnx"
    assert section["trt_engine"].lower() == "/results/gen_trt_engine/model.int8.engine"
    assert section["tensorrt"]["calibration"]["cal_cache_file"] == f"{section['trt_engine']}.cache"


@pytest.mark.parametrize("action", ["evaluate", "deploy_evaluate", "deploy_inference"])
def test_an_engine_goes_before_a_checkpoint_with_one_notice(action):
    notices = spec.load(action, SPECS / action / "tao_both.yaml").notices
    assert [notice for notice in notices if "checkpoint" in notice] == notices
    assert len(notices) == 1
    one = f"~{action.removeprefix('deploy_')}.checkpoint"
    assert spec.load(action, SPECS / action / "tao_both.yaml", [one]).notices == []


@given(st.sampled_from(CHOICES), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_every_choice_is_taken_in_any_case_and_kept_as_declared(chosen, random):
    key, choice = chosen
    written = "".join(random.choice((c.lower(), c.upper())) for c in choice)
    section = key.partition(".")[0]
    action = section if section in spec.ACTIONS else "train"
    tree = {**FILLED, "results_dir": "/r"}
    normal = spec.normalised(action, keys.nested({**dict(keys.leaves(tree)), key: written}))
    assert keys.get(normal, key) == choice
    found = spec.problems(action, keys.nested({key: written}))
    assert not any((p.code, p.key) == ("bad-choice", key) for p in found)


def test_choices_within_open_values_are_kept_as_declared():
    data = values("train", "tao_references")["dataset"]
    steps = data["train_dataset"]["args"]["pre_processes"]
    assert [step["type"] for step in steps] == [
        "IaaAugment",
        "EastRandomCropData",
        "MakeBorderMap",
        "MakeShrinkMap",
    ]
    assert steps[0]["args"][0]["type"] == "Fliplr"
    assert steps[3]["args"]["shrink_type"] == "pyclipper"
    compile_train(steps)
    layers = values("quantize", "tao_references_and_fp8")["quantize"]["layers"]
    assert [layer["weights"]["dtype"] for layer in layers] == ["fp8_e4m3fn", "native"]


def test_every_step_that_is_built_has_a_declared_name():
    built = {"IaaAugment", "Resize2D", *data_steps._PARTS, *data_steps._AUGMENTATIONS}
    assert built == set(STEPS)


class TestTakingAway:
    def test_the_default_holds_again(self):
        tree = spec.read(None, ["train.num_epochs=3", "~train.num_epochs", "~model.backbone"])
        assert not keys.has(tree, "train.num_epochs")
        whole = spec.read(None, ["train.num_epochs=3", "train.seed=4", "~train"])
        assert whole == {}

    def test_only_the_value_that_is_named(self):
        assert not keys.has(spec.read(None, ["train.seed=4", "~train.seed=4"]), "train.seed")
        for wrong in ("~train.seed=5", "~train.gpu_ids.0"):
            with pytest.raises(SpecError) as caught:
                spec.read(None, ["train.seed=4", "train.gpu_ids=[3]", wrong])
            assert caught.value.code == "bad-override"
        with pytest.raises(SpecError, match="not a key"):
            spec.read(None, ["~train.sed"])


class TestOtherSections:
    def test_the_actions_own_key_is_suggested_first(self):
        for action in ("train", "evaluate", "inference"):
            with pytest.raises(SpecError) as caught:
                spec.read(None, ["postprocess.thresh=0.2"], action)
            assert caught.value.did_you_mean == f"{action}.post_processing.args.thresh"
            found = spec.problems(action, {"postprocess": {"box_thresh": 0.3}})
            assert found[0].did_you_mean == f"{action}.post_processing"

    def test_a_key_that_was_likely_meant_for_the_action_is_noticed(self):
        base = {"evaluate": {"checkpoint": "m.pth"}, **FILLED}
        loose = keys.nested({**dict(keys.leaves(base)), "train.post_processing.args.thresh": 0.2})
        (notice,) = spec.resolve("evaluate", loose).notices
        assert "'train.post_processing.args.thresh'" in notice
        assert "'evaluate.post_processing.args.thresh'" in notice
        keys.set(loose, "evaluate.post_processing.args.thresh", 0.2)
        assert spec.resolve("evaluate", loose).notices == []

    def test_a_spec_of_several_actions_is_not_commented(self):
        tree = {"train": {"results_dir": "/a", "num_epochs": 9}, "evaluate": {"checkpoint": "m"}}
        assert spec.resolve("evaluate", {**FILLED, **tree}).notices == []


def test_a_spec_without_an_end_is_too_large(tmp_path):
    (tmp_path / "spec.yaml").symlink_to("/dev/zero")
    (tmp_path / "long.yaml").write_text("é" * 500_000)
    for name in ("spec.yaml", "long.yaml"):
        with pytest.raises(SpecError, match="too large"):
            spec.read(tmp_path / name)
