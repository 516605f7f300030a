"""What may follow a job: what is built, by a command that is complete or says what it needs."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

import results_folders as made
from ocdnet.config import spec
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.policy.next import follow_ups, resumption
from ocdnet.runs.jobs import run_folders


def following(root, program="ocdnet"):
    """The follow-ups of every job, by action."""
    items = [item for job in run_folders(root) for item in follow_ups(job, root, program)]
    return {item.action: item for item in items}


def run_as(command):
    """A command as the shell splits it: its action and the spec that it makes."""
    program, action, flag, file, *overrides = shlex.split(command)
    assert (program, flag) == ("ocdnet", "-e")
    tree = spec.read(Path(file), overrides)
    _, found = spec.check(action, tree)
    return action, tree, [problem.key for problem in found]


def test_every_built_action_that_takes_a_model_follows_something(tmp_path):
    made.train(tmp_path / "a" / "train")
    made.job(tmp_path / "a" / "export", "export", "detector.onnx")
    made.job(tmp_path / "a" / "prune", "prune", "pruned_0.3.pth")
    made.job(tmp_path / "a" / "gen_trt_engine", "gen_trt_engine", "detector.engine")
    params = Skill(skill_dir()).info["spec_params"]
    takes = {name for name, keys in params.items() if "parent_model" in keys.values()}
    assert set(following(tmp_path / "a")) == takes


def test_a_finished_run_is_evaluated_used_exported_and_made_smaller(tmp_path):
    folder = made.train(tmp_path / "results" / "train")
    offered = following(tmp_path / "results")
    assert list(offered) == ["evaluate", "inference", "export", "prune", "quantize"]
    full = offered["quantize"].takes  # of the best epoch
    assert full == str(folder / "model_epoch_001_step_00020.pth")
    takes = {item.takes for name, item in offered.items() if name != "quantize"}
    assert takes == {str(folder / "model_best.pth")}
    for item in offered.values():
        action, tree, missing = run_as(item.command)
        assert action == item.action
        assert tree[action]["model_path" if action == "quantize" else "checkpoint"] == item.takes
        assert tree["results_dir"] == str(tmp_path / "results")
        assert missing == [need.partition("=")[0] for need in item.needs]
        if action in ("inference", "export"):  # the size that it was validated at
            assert (tree[action]["width"], tree[action]["height"]) == (320, 320)
    assert offered["inference"].needs == ("inference.input_folder=FOLDER",)
    others = ("evaluate", "export", "prune", "quantize")
    assert [offered[name].needs for name in others] == [()] * 4


def test_an_export_is_followed_at_its_own_size(tmp_path):
    experiment = made.EXPERIMENT + "export: {width: 640, height: 352}\n"
    made.job(tmp_path / "export", "export", "detector.onnx", experiment=experiment)
    offered = following(tmp_path)
    assert list(offered) == ["evaluate", "inference", "gen_trt_engine"]
    _, tree, missing = run_as(offered["gen_trt_engine"].command)
    engine = tree["gen_trt_engine"]
    assert (engine["width"], engine["height"], missing) == (640, 352, [])
    assert engine["onnx_file"] == str(tmp_path / "export" / "detector.onnx")
    assert engine["trt_engine"] == str(tmp_path / "gen_trt_engine" / "detector.engine")
    _, tree, _ = run_as(offered["evaluate"].command)
    steps = tree["dataset"]["validate_dataset"]["args"]["pre_processes"]
    assert steps[0]["args"]["short_size"] == [640, 352]
    _, tree, _ = run_as(offered["inference"].command)
    assert (tree["inference"]["width"], tree["inference"]["height"]) == (640, 352)


@pytest.mark.parametrize("evaluated", ["", "evaluate: {checkpoint: model.pth}\n"])
def test_an_engine_is_scored_and_used_at_its_own_size(tmp_path, evaluated):
    experiment = f"{made.EXPERIMENT}{evaluated}gen_trt_engine: {{width: 640, height: 352}}\n"
    folder = tmp_path / "gen_trt_engine"
    made.job(folder, "gen_trt_engine", "detector.engine", experiment=experiment)
    offered = following(tmp_path)
    assert list(offered) == ["deploy_evaluate", "deploy_inference"]
    action, tree, missing = run_as(offered["deploy_evaluate"].command)
    assert (action, missing) == ("evaluate", [])
    assert tree["evaluate"]["trt_engine"] == str(folder / "detector.engine")
    steps = tree["dataset"]["validate_dataset"]["args"]["pre_processes"]
    assert steps[0]["args"]["short_size"] == [640, 352]
    action, tree, missing = run_as(offered["deploy_inference"].command)
    assert (action, missing) == ("inference", ["inference.input_folder"])
    assert (tree["inference"]["width"], tree["inference"]["height"]) == (640, 352)


def test_a_spec_without_labelled_images_needs_some(tmp_path):
    folder = made.train(tmp_path / "train")
    text = made.EXPERIMENT.replace("data_path: [/data/test]", "data_path: []")
    (folder / "experiment.yaml").write_text(text)
    (need,) = following(tmp_path)["evaluate"].needs
    assert need == "dataset.validate_dataset.data_path=[FOLDER]"
    command = f"{following(tmp_path)['evaluate'].command} {need.replace('FOLDER', '/data')}"
    assert run_as(command)[2] == []


def test_images_in_rgb_stay_so(tmp_path):
    folder = made.train(tmp_path / "train")
    text = made.EXPERIMENT.replace("img_mode: BGR", "img_mode: RGB")
    (folder / "experiment.yaml").write_text(text)
    assert "inference.img_mode=RGB" in following(tmp_path)["inference"].command


def test_an_earlier_jobs_results_are_not_written_over(tmp_path):
    made.train(tmp_path / "results" / "train")
    made.job(tmp_path / "results" / "evaluate", "evaluate")
    _, tree, _ = run_as(following(tmp_path / "results")["evaluate"].command)
    assert tree["results_dir"] == f"{tmp_path}/results-2"


def test_a_folder_of_its_own_that_the_spec_sets_is_overruled(tmp_path):
    folder = made.train(tmp_path / "results" / "train")
    with (folder / "experiment.yaml").open("a") as file:
        file.write("evaluate: {results_dir: /elsewhere/evaluate}\n")
    _, tree, _ = run_as(following(tmp_path / "results")["evaluate"].command)
    assert tree["evaluate"]["results_dir"] == f"{tmp_path}/results/evaluate"


@pytest.mark.parametrize("name", ["a b", "it's", "a;b $(c) #d", "größe", "-e", "x: y", "a\nb", "1"])
def test_odd_paths_reach_the_command_whole(tmp_path, name):
    folder = made.train(tmp_path / name / "train")
    item = following(tmp_path / name)["export"]
    _, tree, _ = run_as(item.command)
    assert tree["export"]["checkpoint"] == item.takes == str(folder / "model_best.pth")
    assert tree["results_dir"] == str(tmp_path / name)


def test_a_relative_folder_stays_relative(tmp_path, monkeypatch):
    made.train(tmp_path / "results" / "train")
    monkeypatch.chdir(tmp_path)
    item = following(Path("results"))["evaluate"]
    assert item.command == (
        "ocdnet evaluate -e results/train/experiment.yaml "
        "evaluate.checkpoint=results/train/model_best.pth results_dir=results"
    )
    monkeypatch.chdir(tmp_path / "results")
    _, tree, _ = run_as(following(Path("train"))["evaluate"].command)
    assert tree["results_dir"] == str(tmp_path / "results")


@pytest.mark.parametrize("halt", ["failed", "killed"])
def test_a_run_that_stopped_is_resumed_in_its_folder(tmp_path, halt):
    folder = made.train(tmp_path / "my run", epochs=9, end="no" if halt == "failed" else None)
    if halt == "killed":
        made.silence(folder, 1e5)
    item = following(tmp_path)["resume"]
    action, tree, missing = run_as(item.command)
    assert (action, missing, item.needs) == ("train", [], ())
    assert tree["train"]["results_dir"] == str(folder)
    resumed = tree["train"]["resume_training_checkpoint_path"]
    assert resumed == item.takes == str(folder / "model_epoch_002_step_00030.pth")


def test_a_run_whose_epochs_are_all_done_needs_more_of_them_to_go_on(tmp_path):
    made.train(tmp_path / "train", end="disk full")
    assert following(tmp_path)["resume"].needs == (
        "train.num_epochs=TOTAL (in all, above the 3 done)",
    )


def test_a_run_at_work_is_left_alone(tmp_path):
    made.train(tmp_path / "train", epochs=9, end=None)
    assert following(tmp_path) == {}
    assert resumption(run_folders(tmp_path)[0], "ocdnet") is None


def test_a_run_that_left_nothing_is_followed_by_nothing(tmp_path):
    made.train(tmp_path / "train", scores=(), end="no images")
    assert following(tmp_path) == {}


def test_weights_without_a_spec_are_planned_for(tmp_path):
    made.checkpoint(tmp_path, 0)
    item = following(tmp_path, "uv run --script '/a b/ocdnet.py'")["evaluate"]
    assert item.command == (
        f"uv run --script '/a b/ocdnet.py' plan --action evaluate --parent {tmp_path}"
    )
    assert item.needs == ("--eval-dataset FOLDER",)


@pytest.mark.parametrize(
    "text",
    [
        "dataset: 1",
        "dataset: {validate_dataset: {args: []}}",
        "dataset: {validate_dataset: {args: {pre_processes: {a: 1}}}}",
        "dataset: {validate_dataset: {args: {pre_processes: [1, {type: Resize2D}]}}}",
        "dataset: {validate_dataset: {args: {pre_processes: [{type: Resize2D, args: 4}]}}}",
        "export: {width: !!binary aGk=, height: [1]}",
        "1: 2",
    ],
)
def test_a_foreign_spec_never_breaks_the_listing(tmp_path, text):
    made.job(tmp_path / "export", "export", "detector.onnx", experiment=text)
    assert list(following(tmp_path)) == ["evaluate", "inference", "gen_trt_engine"]


def test_a_pruned_network_is_retrained_by_a_plan(tmp_path):
    folder = made.job(tmp_path / "prune", "prune", "pruned_0.3.pth")
    offered = following(tmp_path)
    assert offered["retrain"].takes == str(folder / "pruned_0.3.pth")
    assert offered["retrain"].command == f"ocdnet plan --action retrain --parent {folder}"
    assert offered["retrain"].needs == ("--train-dataset FOLDER",)


@pytest.mark.parametrize(
    ("file", "actions"),
    [
        ("quantized_model_torchao.pth", {"evaluate", "inference", "export"}),
        ("quantized_detector.onnx", {"evaluate", "inference"}),
    ],
)
def test_what_quantize_made_is_scored_and_used(tmp_path, file, actions):
    folder = made.job(tmp_path / "quantize", "quantize", file)
    offered = following(tmp_path)
    assert set(offered) == actions
    assert {item.takes for item in offered.values()} == {str(folder / file)}
