"""What a plan knows of the model that it takes: its worth, its place, what it needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import results_folders as made
from ocdnet.cli.results import next_, status
from ocdnet.policy import plan
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.policy.next import follow_ups
from ocdnet.policy.request import Request
from ocdnet.report.page import write_report
from ocdnet.runs.jobs import job_in, run_folders
from ocdnet.runs.names import DEFAULT_METRIC
from ocdnet.runs.records import EvaluateResult, MatchCounts, Thresholds, write_results
from ocdnet.runs.searches import TrialSummary
from ocdnet.runs.typed import to_json
from ocdnet.tree import yaml_io

SKILL = Skill(skill_dir())
LONGER = "train.num_epochs"


def planned(**request):
    return to_json(plan.build(Request(**request), SKILL, "ocdnet"))


def doubts(document):
    return [text for text in document["warnings"] if "found nothing" in text]


def asked(document):
    return [question for question in document["missing"] if question["blocking"]]


def told(command, root):
    result = CliRunner().invoke({"next": next_, "status": status}[command], [str(root)])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["jobs"]


def evaluated(folder, checkpoint, hmean):
    """An evaluation of a model, with its results."""
    made.job(folder, "evaluate", experiment=f"evaluate: {{checkpoint: {checkpoint}}}\n")
    result = EvaluateResult(
        action="evaluate",
        hmean=hmean,
        precision=hmean,
        recall=hmean,
        counts=MatchCounts(matched=0, gt_care=4, det_care=0),
        images=4,
        checkpoint=str(checkpoint),
        thresholds=Thresholds(thresh=0.3, box_thresh=0.5),
        results=str(folder / "results.json"),
    )
    write_results(folder, result)
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


@pytest.fixture
def split(tmp_path):
    for name in ("img/a.png", "gt/gt_a.txt"):
        path = tmp_path / "words" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return str(tmp_path / "words")


@pytest.fixture
def trained(tmp_path, split):
    """A training run on data that is there, of a network."""

    def run(name, backbone="mobilenet_v3_large", **how):
        folder = made.train(tmp_path / name / "train", **how)
        spec = made.EXPERIMENT.replace("/data/train", split).replace("/data/test", split)
        (folder / "experiment.yaml").write_text(f"{spec}model: {{backbone: {backbone}}}\n")
        return folder

    return run


class TestAModelThatFoundNothing:
    @pytest.fixture
    def poor(self, trained):
        return trained("results", scores=(0.0, 0.0)).parent

    @pytest.mark.parametrize("action", ["evaluate", "export", "prune", "quantize", "inference"])
    def test_the_plan_of_whatever_takes_it_warns(self, poor, action):
        (doubt,) = doubts(planned(action=action, parent=str(poor)))
        assert LONGER in doubt
        assert "resume" in doubt

    def test_resuming_and_training_from_it_are_no_exception(self, poor, split):
        for action in ("resume", "train"):
            document = planned(action=action, parent=str(poor), train_datasets=(split,))
            assert len(doubts(document)) == 1

    def test_an_epoch_of_it_and_its_path_alone_warn_too(self, poor):
        assert doubts(planned(action="export", parent=str(poor), checkpoint="1"))
        given = (f"export.checkpoint={poor}/train/model_best.pth",)
        assert doubts(planned(action="export", overrides=given))

    def test_so_does_what_was_exported_from_it(self, poor, tmp_path):
        spec = f"export: {{checkpoint: {poor}/train/model_best.pth}}\n"
        made.job(tmp_path / "onnx" / "export", "export", "detector.onnx", experiment=spec)
        assert doubts(planned(action="gen_trt_engine", parent=str(tmp_path / "onnx")))

    def test_next_warns_first_and_offers_to_train_longer_first(self, poor):
        (row,) = told("next", poor)
        assert list(row).index("warnings") < list(row).index("follow_ups")
        assert LONGER in row["warnings"][0]
        first = row["follow_ups"][0]
        assert first["action"] == "resume"
        assert first["needs"][0].startswith(f"{LONGER}=")

    def test_status_and_the_report_say_so(self, poor, tmp_path):
        (row,) = told("status", poor)
        assert LONGER in row["warnings"][0]
        write_report(poor, tmp_path / "report.html", "ocdnet")
        page = (tmp_path / "report.html").read_text()
        assert page.index("found nothing") < page.index("Next: ")

    def test_a_run_at_work_may_still_find_something(self, tmp_path):
        made.train(tmp_path / "now" / "train", scores=(0.0,), epochs=9, end=None)
        assert "warnings" not in told("status", tmp_path / "now")[0]

    def test_one_that_was_not_validated_is_no_such_case(self, tmp_path):
        folder = tmp_path / "blind" / "train"
        made.job(folder, "train", "model_best.pth", experiment=made.EXPERIMENT)
        assert doubts(planned(action="export", parent=str(folder))) == []
        assert "warnings" not in told("status", folder)[0]

    def test_but_an_evaluation_of_it_may_tell(self, tmp_path):
        folder = tmp_path / "blind" / "train"
        made.job(folder, "train", "model_best.pth", experiment=made.EXPERIMENT)
        evaluated(folder.parent / "evaluate", folder / "model_best.pth", 0.0)
        assert doubts(planned(action="export", parent=str(folder.parent)))
        assert all(LONGER in row["warnings"][0] for row in told("next", folder.parent))
        evaluated(folder.parent / "again", folder / "model_best.pth", 0.5)
        assert doubts(planned(action="export", parent=str(folder.parent))) == []

    def test_an_evaluation_alone_is_told(self, tmp_path):
        evaluated(tmp_path / "e" / "evaluate", "/gone/model.pth", 0.0)
        for command in ("next", "status"):
            (row,) = told(command, tmp_path / "e")
            assert LONGER in row["warnings"][0]

    def test_one_that_found_little_found_something(self, trained):
        folder = trained("results", scores=(0.0, 0.01, 0.0))
        assert doubts(planned(action="export", parent=str(folder))) == []

    @pytest.mark.parametrize("metric", ["hmean", DEFAULT_METRIC])
    def test_a_search_whose_best_trial_found_nothing(self, tmp_path, metric):
        folder = made.job(tmp_path / "s" / "automl", "automl", "model_best.pth", "best_spec.yaml")
        best = TrialSummary(trial=0, state="complete", value=0.0, hmean=0.0)
        write_results(folder, made.searched(folder, metric=metric, best=best))
        assert job_in(folder).hmean == 0
        (job,) = run_folders(folder)
        assert follow_ups(job, folder, "ocdnet")[0].action == "train"
        assert doubts(planned(action="export", parent=str(folder)))


class TestRoundTo:
    @pytest.mark.parametrize("backbone", ["mobilenet_v2", "mobilenet_v3_large"])
    def test_it_fits_the_parents_backbone(self, trained, backbone):
        folder = trained("r", backbone)
        document = planned(action="prune", parent=str(folder))
        assert document["spec_overrides"]["prune.round_to"] == 16
        assert any("prune.round_to is 16" in why for why in document["why"])

    def test_and_the_specs_where_there_is_no_parent(self):
        given = ("model.backbone=mobilenet_v2", "prune.checkpoint=/a.pth")
        document = planned(action="prune", overrides=given)
        assert document["spec_overrides"]["prune.round_to"] == 16

    def test_others_keep_taos(self, trained):
        folder = trained("r", "deformable_resnet18")
        assert "prune.round_to" not in planned(action="prune", parent=str(folder))["spec_overrides"]

    def test_one_that_is_given_stays_and_is_warned_of_where_it_does_not_fit(self, trained):
        folder = trained("r")
        for value, warned in ((32, True), (17, True), (16, False), (4, False)):
            given = (f"prune.round_to={value}",)
            document = planned(action="prune", parent=str(folder), overrides=given, full=True)
            assert document["spec"]["prune"]["round_to"] == value
            assert any("1 to 16 fit" in text for text in document["warnings"]) is warned

    def test_a_network_that_was_pruned_before_takes_the_round_to_of_then(self, trained, tmp_path):
        pruned = made.job(
            tmp_path / "p" / "prune",
            "prune",
            "pruned_0.3.pth",
            experiment="prune: {round_to: 8}\n",
        )
        folder = trained("r")
        spec = f"model: {{load_pruned_graph: true, pruned_graph_path: {pruned}/pruned_0.3.pth}}\n"
        (folder / "experiment.yaml").write_text(spec)
        document = planned(action="prune", parent=str(folder))
        assert document["spec_overrides"]["prune.round_to"] == 8

    def test_next_says_it_in_the_command(self, trained):
        folder = trained("r")
        (job,) = run_folders(folder)
        commands = {item.action: item.command for item in follow_ups(job, folder, "ocdnet")}
        assert "prune.round_to=16" in commands["prune"]
        assert "round_to" not in commands["export"]


class TestRetrainBeforeThePruneHasRun:
    @pytest.fixture
    def prune_plan(self, trained, tmp_path):
        """A written plan of prune, whose job has not run; its folder."""
        run = trained("results")
        given = {"overrides": ("prune.ch_sparsity=0.3",), "write": "pruning"}
        document = planned(action="prune", parent=str(run), **given)
        assert document["outputs"]["folder"] == str(tmp_path / "results" / "prune")
        return Path("pruning")

    @pytest.mark.parametrize("parent", ["pruning", "{}/results/prune"])
    def test_the_file_of_its_plan_is_expected(self, prune_plan, tmp_path, split, parent):
        parent = parent.format(tmp_path)
        document = planned(action="retrain", parent=parent, train_datasets=(split,))
        file = f"{tmp_path}/results/prune/pruned_0.3.pth"
        assert document["spec_overrides"]["model.pruned_graph_path"] == file
        assert document["spec_overrides"]["model.backbone"] == "mobilenet_v3_large"
        assert [text for text in document["warnings"] if file in text]
        assert asked(document) == []
        assert document["commands"]

    def test_one_that_runs_now_is_expected_too(self, tmp_path, split):
        folder = tmp_path / "results" / "prune"
        folder.mkdir(parents=True)
        spec = "model: {backbone: resnet34}\nprune: {ch_sparsity: 0.5}\n"
        (folder / "experiment.yaml").write_text(spec)
        document = planned(action="retrain", parent=str(folder), train_datasets=(split,))
        path = document["spec_overrides"]["model.pruned_graph_path"]
        assert path == str(folder / "pruned_0.5.pth")
        assert document["spec_overrides"]["model.backbone"] == "resnet34"

    def test_one_that_has_run_is_taken_without_a_warning(self, prune_plan, tmp_path, split):
        made.job(tmp_path / "results" / "prune", "prune", "pruned_0.3.pth")
        document = planned(action="retrain", parent=str(prune_plan), train_datasets=(split,))
        assert document["spec_overrides"]["model.pruned_graph_path"].endswith("pruned_0.3.pth")
        assert not [text for text in document["warnings"] if "not there yet" in text]

    def test_an_engine_is_planned_before_its_export_has_run(self, trained, tmp_path):
        run = trained("results")
        planned(action="export", parent=str(run), write="exporting")
        document = planned(action="gen_trt_engine", parent="exporting")
        expected = f"{tmp_path}/results/export/detector.onnx"
        assert document["spec_overrides"]["gen_trt_engine.onnx_file"] == expected
        assert [text for text in document["warnings"] if expected in text]

    @pytest.mark.parametrize("there", [True, False])
    def test_a_file_that_is_given_has_the_parents_network(self, trained, tmp_path, split, there):
        run = trained("results", "resnet34")
        file = tmp_path / "pruned_0.4.pth"
        if there:
            file.touch()
        given = (f"model.pruned_graph_path={file}",)
        document = planned(
            action="retrain", parent=str(run), train_datasets=(split,), overrides=given
        )
        assert document["spec_overrides"]["model.pruned_graph_path"] == str(file)
        assert document["spec_overrides"]["model.backbone"] == "resnet34"
        assert any("not there yet" in text for text in document["warnings"]) is not there

    def test_next_offers_nothing_that_is_not_there(self, tmp_path):
        folder = tmp_path / "results" / "prune"
        folder.mkdir(parents=True)
        (folder / "experiment.yaml").write_text("prune: {ch_sparsity: 0.5}\n")
        (row,) = told("next", folder)
        assert row["follow_ups"] == []


class TestGoingOnFromAnEarlierEpoch:
    @pytest.fixture
    def run(self, trained):
        return trained("results")

    def resumed(self, run, *sets, **more):
        sets = ("train.num_epochs=9", *sets)
        return planned(action="resume", parent=str(run), overrides=sets, **more)

    @pytest.mark.parametrize("checkpoint", ["1", "2", "best"])
    def test_it_asks_before_later_epochs_are_written_over(self, run, checkpoint):
        document = self.resumed(run, checkpoint=checkpoint)
        (question,) = asked(document)
        assert question["about"] == "--results-dir"
        for name in ("model_epoch_002_step_00030.pth", "model_best.pth", f"{run.parent}-2"):
            assert name in question["question"]
        assert document["commands"] == []

    def test_a_folder_of_its_own_answers_it(self, run):
        document = self.resumed(run, checkpoint="1", results_dir=f"{run.parent}-2")
        assert asked(document) == []
        assert document["outputs"]["folder"] == f"{run.parent}-2/train"

    def test_its_own_folder_by_name_answers_it_too(self, run):
        document = self.resumed(run, f"train.results_dir={run}", checkpoint="1")
        assert asked(document) == []
        assert document["outputs"]["folder"] == str(run)
        assert document["commands"]

    @pytest.mark.parametrize("checkpoint", [None, "3", "latest"])
    def test_from_the_last_epoch_there_is_nothing_to_ask(self, run, checkpoint):
        assert asked(self.resumed(run, checkpoint=checkpoint)) == []

    def test_a_checkpoint_that_is_given_by_its_path_is_asked_about(self, run):
        given = f"train.resume_training_checkpoint_path={run}/model_epoch_000_step_00010.pth"
        assert [q["about"] for q in asked(self.resumed(run, given))] == ["--results-dir"]


class TestSeveralFiles:
    """None of them is the only one, wherever they lie."""

    @pytest.mark.parametrize("second", ["deep/er/b.engine", "../b.engine", "../else/where/b.trt"])
    def test_a_second_engine_is_asked_about(self, tmp_path, second):
        folder = made.job(tmp_path / "r" / "gen_trt_engine", "gen_trt_engine", "a.engine")
        path = folder / second
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self.check("deploy_evaluate", folder.parent, "a.engine", path.name)

    @pytest.mark.parametrize("name", ["b.engine", "b.plan"])
    def test_one_that_the_spec_names_elsewhere_counts(self, tmp_path, name):
        (tmp_path / name).touch()
        spec = f"gen_trt_engine: {{trt_engine: {tmp_path}/{name}}}\n"
        folder = tmp_path / "r" / "gen_trt_engine"
        made.job(folder, "gen_trt_engine", "a.engine", experiment=spec)
        self.check("deploy_inference", folder.parent, "a.engine", name)

    @pytest.mark.parametrize("second", ["sub/pruned_0.5.pth", "../a/b/prune/pruned_0.5.pth"])
    def test_a_second_pruned_file_is_asked_about(self, tmp_path, second):
        folder = made.job(tmp_path / "r" / "prune", "prune", "pruned_0.3.pth")
        path = folder / second
        path.parent.mkdir(parents=True)
        path.touch()
        self.check("retrain", folder.parent, "pruned_0.3.pth", "pruned_0.5.pth")

    def check(self, action, parent, *names):
        document = planned(action=action, parent=str(parent))
        assert not [why for why in document["why"] if "the only one" in why]
        key = {"retrain": "model.pruned_graph_path", "deploy_evaluate": "evaluate.trt_engine"}
        about = key.get(action, "inference.trt_engine")
        (question,) = [question for question in asked(document) if question["about"] == about]
        assert all(name in question["question"] for name in names)

    def test_one_file_by_two_names_is_one(self, tmp_path):
        folder = made.job(tmp_path / "r" / "prune", "prune", "pruned_0.3.pth")
        (folder.parent / "pruned_0.3.pth").symlink_to(folder / "pruned_0.3.pth")
        document = planned(action="retrain", parent=str(folder.parent))
        assert document["spec_overrides"]["model.pruned_graph_path"].endswith("pruned_0.3.pth")


def test_a_written_spec_of_prune_holds_what_fits(trained):
    folder = trained("r")
    planned(action="prune", parent=str(folder), write="run")
    assert yaml_io.read(Path("run/prune.yaml"))["prune"]["round_to"] == 16
