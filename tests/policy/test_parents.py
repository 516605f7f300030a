"""What a job takes from its parent, rule by rule."""

from __future__ import annotations

import pytest

import results_folders as made
from ocdnet.errors import DataError
from ocdnet.notes import Notes
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.policy.parents import FUNCTIONS, Context, resolve
from ocdnet.runs.files import epoch_of


class Asked:
    """One resolving: the value, and what was told beside it."""

    def __init__(self, action, parent, function="parent_model", **more):
        self.notes = Notes()
        more = {"results_dir": "out"} | more
        context = Context(action=action, parent=parent, notes=self.notes, **more)
        self.value = resolve(function, f"{action}.model", context)
        self.name = self.value and self.value.rpartition("/")[2]
        self.why = " ".join(self.notes.why)
        self.questions = [asked.question for asked in self.notes.missing]
        assert not self.questions or self.value is None
        assert self.value is None or self.notes.why or function.startswith(("create", "output"))


def refused(action, parent, **more):
    with pytest.raises(DataError) as caught:
        Asked(action, parent, **more)
    assert caught.value.exit_code == 4
    return caught.value


def test_every_function_that_the_skill_names_is_there():
    named = {
        function
        for info in (Skill(skill_dir()).info, Skill(skill_dir()).deploy_info)
        for keys in info["spec_params"].values()
        for function in keys.values()
    }
    assert named <= set(FUNCTIONS)


@pytest.mark.parametrize("action", ["evaluate", "inference", "export", "prune"])
def test_a_model_is_used_at_its_best_else_at_its_highest_epoch(tmp_path, action):
    folder = made.train(tmp_path / "train")
    best = Asked(action, tmp_path)
    assert best.value == str(folder / "model_best.pth")
    assert "epoch 2 counted from 1, hmean 0.6" in best.why
    (folder / "model_best.pth").unlink()
    highest = Asked(action, tmp_path)
    assert highest.name == "model_epoch_002_step_00030.pth"
    assert "epoch 3 counted from 1" in highest.why


def test_highest_is_by_number_not_by_name(tmp_path):
    for epoch in (2, 999, 1000):
        made.checkpoint(tmp_path, epoch)
    made.checkpoint(tmp_path, 1000, step=4)
    assert Asked("export", tmp_path).name == "model_epoch_1000_step_10010.pth"


def test_latest_is_taken_when_asked_for_alone(tmp_path):
    folder = made.train(tmp_path / "train")
    (folder / "ocd_model_latest.pth").symlink_to("model_epoch_001_step_00020.pth")
    assert Asked("evaluate", folder).name == "model_best.pth"
    assert Asked("evaluate", folder, checkpoint="latest").name == "model_epoch_001_step_00020.pth"


@pytest.mark.parametrize("action", ["evaluate", "export", "quantize", "resume"])
def test_an_epoch_that_is_asked_for_counts_from_1(tmp_path, action):
    made.train(tmp_path / "train")
    function = "resume_model" if action == "resume" else "parent_model"
    asked = Asked(action, tmp_path, function, checkpoint="2")
    assert epoch_of(tmp_path / asked.name) == 1
    assert "epoch 2 counted from 1, as asked for" in asked.why
    error = refused(action, tmp_path, function=function, checkpoint="4")
    assert error.expected.endswith("counted from 1: 1, 2, 3")


@pytest.mark.parametrize("backend", ["torchao", "modelopt.pytorch"])
class TestQuantizeWithTorch:
    def test_it_takes_the_full_checkpoint_of_the_best_epoch(self, tmp_path, backend):
        made.train(tmp_path / "train")
        assert Asked("quantize", tmp_path, backend=backend).name == "model_epoch_001_step_00020.pth"

    def test_of_tao_too(self, tmp_path, backend):
        made.tao(tmp_path / "train")
        assert Asked("quantize", tmp_path, backend=backend).name == "model_epoch_000_step_00004.pth"

    def test_else_our_own_best_which_is_full(self, tmp_path, backend):
        folder = made.train(tmp_path / "train")
        (folder / "model_epoch_001_step_00020.pth").unlink()
        assert Asked("quantize", tmp_path, backend=backend).name == "model_best.pth"

    def test_ours_is_known_by_its_optimiser_too(self, tmp_path, backend):
        made.torch_file(tmp_path / "model_best.pth", "optimizer_states")
        assert Asked("quantize", tmp_path, backend=backend).name == "model_best.pth"

    def test_never_taos_best_which_is_not(self, tmp_path, backend):
        folder = made.tao(tmp_path / "train")
        (folder / "model_epoch_000_step_00004.pth").unlink()
        error = refused("quantize", tmp_path, backend=backend)
        assert "model_best.pth" in error.got
        for epoch in (4, 7):
            made.checkpoint(folder, epoch)
        (question,) = Asked("quantize", tmp_path, backend=backend).questions
        assert "has 5, 8. Which one?" in question

    @pytest.mark.parametrize("content", [b"", b"PK\x05\x06 cut", b"\x80\x02}."])
    def test_a_damaged_best_is_not_full(self, tmp_path, backend, content):
        (tmp_path / "model_best.pth").write_bytes(content)
        refused("quantize", tmp_path, backend=backend)


def test_quantize_with_onnx_takes_the_onnx(tmp_path):
    made.train(tmp_path / "train")
    made.job(tmp_path / "export", "export", "detector.onnx")
    assert Asked("quantize", tmp_path, backend="modelopt.onnx").name == "detector.onnx"


class TestResume:
    def test_it_goes_on_from_the_highest_epoch(self, tmp_path):
        made.train(tmp_path / "train", end="interrupted")
        assert Asked("resume", tmp_path, "resume_model").name == "model_epoch_002_step_00030.pth"

    def test_from_the_best_when_asked(self, tmp_path):
        made.train(tmp_path / "train", end="interrupted")
        asked = Asked("resume", tmp_path, "resume_model", checkpoint="best")
        assert asked.name == "model_epoch_001_step_00020.pth"

    def test_from_taos_slim_best_never(self, tmp_path):
        folder = made.tao(tmp_path / "train")
        (folder / "model_epoch_000_step_00004.pth").unlink()
        refused("resume", tmp_path, function="resume_model")

    def test_no_other_action_resumes(self, tmp_path):
        made.train(tmp_path / "train")
        assert Asked("train", tmp_path, "resume_model").value is None

    def test_a_run_that_goes_on_still_is_told(self, tmp_path):
        made.train(tmp_path / "train", end=None)
        assert "seems to go on" in Asked("resume", tmp_path, "resume_model").notes.warnings[0]


class TestPretrained:
    FUNCTION = "ptm_if_no_resume_model"

    def test_what_is_given_is_used_unless_the_run_is_resumed(self, tmp_path):
        assert Asked("train", None, "output_dir").value == "out"
        given = Context(
            action="train", parent=None, results_dir="", notes=Notes(), pretrained="w.pth"
        )
        assert resolve(self.FUNCTION, "key", given) == "w.pth"
        resumed = Context(
            action="resume", parent=tmp_path, results_dir="", notes=Notes(), pretrained="w.pth"
        )
        assert resolve(self.FUNCTION, "key", resumed) is None

    def test_training_with_a_parent_starts_from_its_weights(self, tmp_path):
        made.train(tmp_path / "train")
        asked = Asked("train", tmp_path, self.FUNCTION)
        assert asked.name == "model_best.pth"
        assert "begins anew" in asked.why


def test_retrain_takes_the_pruned_model_and_asks_where_there_are_several(tmp_path):
    made.job(tmp_path / "prune", "prune", "pruned_0.3.pth")
    assert Asked("retrain", tmp_path).name == "pruned_0.3.pth"
    (tmp_path / "prune" / "pruned_0.5.pth").touch()
    asked = Asked("retrain", tmp_path)
    assert "pruned_0.3.pth" in asked.questions[0]
    assert "pruned_0.5.pth" in asked.questions[0]
    assert asked.notes.missing[0].about == "retrain.model"


def test_an_engine_is_built_from_the_onnx_and_deployed(tmp_path):
    made.job(tmp_path / "export", "export", "deep/detector.onnx")
    assert Asked("gen_trt_engine", tmp_path).name == "detector.onnx"
    for action in ("deploy_evaluate", "deploy_inference"):
        assert refused(action, tmp_path).expected.startswith("a TensorRT engine")
    engine = tmp_path / "elsewhere.trt"
    engine.touch()
    spec = f"gen_trt_engine: {{trt_engine: {engine}}}\n"
    made.job(tmp_path / "gen_trt_engine", "gen_trt_engine", experiment=spec)
    for action in ("deploy_evaluate", "deploy_inference"):
        assert Asked(action, tmp_path).value == str(engine)


def test_an_export_alone_is_evaluated_by_its_onnx(tmp_path):
    made.job(tmp_path / "export", "export", "detector.onnx")
    assert Asked("evaluate", tmp_path).name == "detector.onnx"
    made.train(tmp_path / "train")
    assert Asked("evaluate", tmp_path).name == "model_best.pth"


def test_two_runs_are_asked_about_by_name(tmp_path):
    made.train(tmp_path / "train")
    made.train(tmp_path / "second")
    asked = Asked("evaluate", tmp_path)
    assert asked.notes.missing[0].about == "--parent"
    assert str(tmp_path / "train") in asked.questions[0]
    assert str(tmp_path / "second") in asked.questions[0]


def test_a_parent_without_what_fits_says_what_is_there(tmp_path):
    made.job(tmp_path / "prune", "prune", "pruned_0.3.pth")
    error = refused("resume", tmp_path, function="resume_model")
    assert "pruned_0.3.pth" in error.got
    assert "model_best.pth" in error.expected


def test_a_parent_that_does_not_exist_is_an_error(tmp_path):
    assert refused("evaluate", tmp_path / "gone").code == "no-such-folder"
    assert refused("resume", tmp_path / "gone", function="resume_model").code == "no-such-folder"


def test_without_a_parent_nothing_is_inferred():
    assert Asked("evaluate", None).value is None


def test_a_run_that_failed_is_told_with_its_model(tmp_path):
    made.train(tmp_path / "train", end="out of memory")
    assert "did not finish" in Asked("export", tmp_path).notes.warnings[0]


def test_what_a_job_writes_lies_in_its_results(tmp_path):
    made.train(tmp_path / "train")
    written = {name: Asked("export", None, name).value for name in FUNCTIONS if "create" in name}
    assert written == {
        "create_onnx_file": "out/export/detector.onnx",
        "create_engine_file": "out/gen_trt_engine/detector.engine",
        "create_cal_cache": "out/gen_trt_engine/detector.cache",
    }
    assert Asked("export", tmp_path, "parent_model_folder").value == str(tmp_path / "train")
