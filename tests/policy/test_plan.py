"""A plan decides what the request leaves open, holds all an agent needs, writes when asked."""

import json
import shlex
import shutil
from pathlib import Path

import jsonschema
import pytest

import results_folders as made
from ocdnet.cli.automl import automl
from ocdnet.config import spec
from ocdnet.errors import DataError, SpecError, UsageError
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.policy.request import ACTIONS, Request
from ocdnet.runs.records import write_results
from ocdnet.tree import yaml_io
from ocdnet.tree.yaml_io import inline_yaml
from plans import build

SKILL = Skill(skill_dir())
SCHEMA = json.loads((skill_dir() / "schemas/plan.schema.json").read_text())
MODEL = b"not read by a plan"


def plan(**request):
    """The plan of a request, which is always valid against its schema."""
    document = build(Request(**request), SKILL, "ocdnet")
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    return document


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(MODEL)
    return str(folder)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


@pytest.fixture
def split(tmp_path):
    return touch(
        tmp_path / "train", *(f"img/{n}.png" for n in "abc"), *(f"gt/gt_{n}.txt" for n in "abc")
    )


@pytest.fixture
def test_split(tmp_path):
    return touch(tmp_path / "test", "img/a.png", "gt/gt_a.txt")


@pytest.fixture
def run(tmp_path, split, test_split):
    """The results of a training run of 4 epochs as train leaves them, best in the third."""
    root = tmp_path / "results"
    names = [f"model_epoch_{n:03d}_step_{100 * n + 100:05d}.pth" for n in range(4)]
    touch(root / "train", "model_best.pth", *names)
    (root / "train/ocd_model_latest.pth").symlink_to(names[-1])
    write_results(root / "train", made.trained(root / "train", 2, 0.5))
    line = {"date": "11/22/2026", "time": "10:00:00", "status": "SUCCESS", "message": "train"}
    (root / "train/status.json").write_text(json.dumps(line) + "\n")
    given = [
        f"dataset.train_dataset.data_path=[{split}]",
        f"dataset.validate_dataset.data_path=[{test_split}]",
        "dataset.train_dataset.loader.batch_size=3",
        "train.num_epochs=4",
        "train.optimizer.args.lr=0.004",
    ]
    loaded = spec.load("train", None, [*given, f"results_dir={root}"])
    (root / "train/experiment.yaml").write_text(spec.to_yaml(spec.dump(loaded)))
    return root


def asked(document):
    return {question["about"] for question in document["missing"] if question["blocking"]}


AUTOML = SCHEMA["properties"]["route"]["allOf"][1]["then"]
"""Of a route that searches."""


class TestSchema:
    def test_every_field_is_described(self, split, tmp_path):
        written = plan(action="train", train_datasets=(split,), automl_policy="off", full=True)
        unset = {"estimate", "spec_file", "extract", "image", "files", "better_start"}
        assert set(SCHEMA["properties"]) == {*written, *unset}
        assert set(SCHEMA["required"]) == set(written) - {"spec"}

    @pytest.mark.parametrize("field", SCHEMA["required"])
    def test_every_field_is_needed_and_typed(self, split, field):
        document = plan(action="train", train_datasets=(split,))
        validator = jsonschema.Draft202012Validator(SCHEMA)
        for spoilt in ({k: v for k, v in document.items() if k != field}, document | {field: 0}):
            assert not validator.is_valid(spoilt)
        assert not validator.is_valid(document | {"more": 1})

    @pytest.mark.parametrize("field", AUTOML["required"])
    def test_every_field_of_the_automl_route_is_needed(self, split, field):
        document = plan(action="train", train_datasets=(split,))
        del document["route"][field]
        assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(document)


class TestWhatItWrites:
    def test_the_spec_is_complete_valid_and_runs_as_it_is(self, split, test_split):
        document = plan(
            action="train",
            automl_policy="off",
            train_datasets=(split,),
            eval_datasets=(test_split,),
            overrides=("train.max_minutes=3",),
            write="run",
        )
        assert document["files"] == [document["spec_file"]] == ["run/train.yaml"]
        tree = yaml_io.read(Path("run/train.yaml"))
        loaded = spec.resolve("train", tree)
        assert loaded.notices == []
        assert loaded.experiment.train.max_minutes == 3
        assert set(tree) == {*SKILL.schema("train")["properties"]} - {"max_megapixels"}
        assert document["commands"] == ["ocdnet train -e run/train.yaml"]

    def test_the_overrides_over_the_template_are_the_same_spec(self, split):
        given = {"action": "train", "automl_policy": "off", "train_datasets": (split,)}
        sets = ("train.num_epochs=2", "train.precision=bf16", "wandb.name='a b'")
        written = plan(**given, overrides=sets, write="run")
        changes = plan(**given, overrides=sets)["spec_overrides"]
        rest = [f"{key}={inline_yaml(value)}" for key, value in changes.items()]
        loaded = spec.load("train", SKILL.template_path("train"), rest)
        assert spec.dump(loaded) == spec.dump(spec.load("train", Path(written["spec_file"])))

    def test_without_write_nothing_is_written(self, split):
        plan(action="train", train_datasets=(split,))
        assert list(Path.cwd().iterdir()) == []

    def test_nothing_is_written_over(self, split):
        given = {"action": "train", "train_datasets": (split,), "write": "run"}
        plan(**given)
        before = Path("run/train.yaml").read_bytes()
        with pytest.raises(UsageError, match="not written over"):
            plan(**given)
        assert Path("run/train.yaml").read_bytes() == before

    def test_nothing_is_written_while_a_question_blocks(self):
        document = plan(action="train", write="run")
        assert asked(document) == {"--train-dataset"}
        assert "spec_file" not in document
        assert document["commands"] == []
        assert not Path("run").exists()

    def test_a_secret_is_not_printed(self, split):
        document = plan(
            action="train", train_datasets=(split,), overrides=("encryption_key=tlt",), full=True
        )
        assert "tlt" not in json.dumps(document)
        assert document["spec_overrides"]["encryption_key"] == "***"

    def test_an_archive_is_unpacked_first_and_never_passed_on(self, split, tmp_path):
        archive = shutil.make_archive(str(tmp_path / "words"), "gztar", split)
        document = plan(action="train", train_datasets=(archive,), automl_policy="off", write="run")
        (step,) = document["extract"]
        assert step["archive"] == archive
        assert document["spec_overrides"]["dataset.train_dataset.data_path"] == [step["to"]]
        assert archive not in Path("run/train.yaml").read_text()
        assert shlex.split(step["command"])[:4] == ["ocdnet", "data", "extract", archive]


class TestFromAParent:
    @pytest.mark.parametrize(
        ("action", "key"),
        [
            ("evaluate", "evaluate.checkpoint"),
            ("export", "export.checkpoint"),
            ("prune", "prune.checkpoint"),
        ],
    )
    def test_the_best_checkpoint_is_taken_and_the_data_of_the_run(self, run, action, key):
        document = plan(action=action, parent=str(run))
        assert document["spec_overrides"][key] == str(run / "train/model_best.pth")
        assert document["spec_overrides"]["results_dir"] == str(run)
        assert document["missing"] == []
        assert any("experiment.yaml" in why for why in document["why"])
        assert not any("train_dataset" in key for key in document["spec_overrides"])

    def test_the_full_checkpoint_of_the_best_epoch_is_quantized(self, run, split):
        document = plan(action="quantize", parent=str(run), overrides=("quantize.backend=torchao",))
        path = document["spec_overrides"]["quantize.model_path"]
        assert path == str(run / "train/model_epoch_002_step_00300.pth")

    def test_the_runs_training_images_calibrate(self, run, split):
        sets = ("quantize.backend=modelopt.pytorch", "quantize.mode=static_ptq")
        document = plan(action="quantize", parent=str(run), overrides=sets)
        key = "dataset.quant_calibration_dataset.images_dir"
        assert document["spec_overrides"][key] == f"{split}/img"
        assert document["missing"] == []

    def test_resume_goes_on_in_the_runs_own_folder_with_its_own_settings(self, run):
        document = plan(action="resume", parent=str(run), overrides=("train.num_epochs=9",))
        overrides = document["spec_overrides"]
        latest = str(run / "train/model_epoch_003_step_00400.pth")
        assert overrides["train.resume_training_checkpoint_path"] == latest
        assert overrides["train.optimizer.args.lr"] == 0.004
        assert overrides["dataset.train_dataset.loader.batch_size"] == 3
        assert overrides["train.num_epochs"] == 9
        assert document["outputs"]["folder"] == str(run / "train")

    def test_epochs_of_a_resumed_run_are_the_total(self, run):
        document = plan(action="resume", parent=str(run))
        assert asked(document) == {"train.num_epochs"}
        assert "4 epochs are done" in document["missing"][0]["question"]

    def test_an_earlier_run_is_never_written_over(self, run, split):
        given = {"automl_policy": "off", "results_dir": str(run)}
        again = plan(action="train", train_datasets=(split,), **given)
        assert again["spec_overrides"]["results_dir"] == f"{run}-2"
        assert any("holds an earlier job" in warning for warning in again["warnings"])

    def test_retrain_takes_the_pruned_graph(self, run, split):
        touch(run / "prune", "pruned_0.3.pth")
        document = plan(action="retrain", parent=str(run / "prune"), train_datasets=(split,))
        assert document["spec_overrides"]["model.pruned_graph_path"].endswith("pruned_0.3.pth")
        assert "model.load_pruned_graph" not in document["spec_overrides"]  # the template's default
        assert document["outputs"]["folder"] == f"{run}-2/train"

    def test_a_checkpoint_asked_for_by_epoch_counts_from_1(self, run):
        document = plan(action="export", parent=str(run), checkpoint="2")
        assert document["spec_overrides"]["export.checkpoint"].endswith("_epoch_001_step_00200.pth")

    def test_the_users_own_value_wins(self, run):
        own = ("evaluate.checkpoint=/mine.pth",)
        document = plan(action="evaluate", parent=str(run), overrides=own)
        assert document["spec_overrides"]["evaluate.checkpoint"] == "/mine.pth"

    def test_a_parent_that_does_not_exist(self):
        with pytest.raises(DataError):
            plan(action="evaluate", parent="nowhere")


class TestSettings:
    def test_no_interval_is_longer_than_the_run(self, split):
        sets = ("train.num_epochs=5", "train.validation_interval=10", "train.checkpoint_interval=7")
        document = plan(action="train", train_datasets=(split,), overrides=sets)
        assert document["spec_overrides"]["train.validation_interval"] == 5
        assert document["spec_overrides"]["train.checkpoint_interval"] == 5
        assert sum("is lowered from" in warning for warning in document["warnings"]) == 2

    def test_the_defaults_are_ten_epochs_at_intervals_of_one(self, split):
        train = plan(action="train", train_datasets=(split,), full=True)["spec"]["train"]
        intervals = (train["validation_interval"], train["checkpoint_interval"])
        assert (train["num_epochs"], *intervals) == (10, 1, 1)

    def test_gpu_ids_follow_num_gpus_and_the_batch_is_per_gpu(self, split):
        given = {"overrides": ("train.num_gpus=4",), "automl_policy": "off"}
        document = plan(action="train", train_datasets=(split,), **given)
        assert document["spec_overrides"]["train.gpu_ids"] == [0, 1, 2, 3]
        assert any("16 on each of 4, 64 a step" in warning for warning in document["warnings"])

    def test_the_effective_batch_is_told(self, split):
        sets = ("train.num_gpus=2", "train.num_nodes=3", "train.accumulate_grad_batches=4")
        given = {"train_datasets": (split,), "automl_policy": "off"}
        document = plan(action="train", overrides=sets, **given)
        told = "16 on each of 6, 4 batches gathered, 384 a step; the learning rate is not scaled"
        assert any(told in warning for warning in document["warnings"])

    def test_all_gpus(self, split):
        given = {"train_datasets": (split,), "automl_policy": "off"}
        document = plan(action="train", overrides=("train.num_gpus=-1",), **given)
        assert "train.gpu_ids" not in document["spec_overrides"]
        assert any("all that are there: 16 a step" in text for text in document["warnings"])

    def test_num_gpus_follow_gpu_ids(self, split):
        document = plan(action="train", train_datasets=(split,), overrides=("train.gpu_ids=[2,5]",))
        assert document["spec_overrides"]["train.num_gpus"] == 2

    def test_num_gpus_and_gpu_ids_that_disagree(self, split):
        sets = ("train.gpu_ids=[2,5]", "train.num_gpus=3")
        with pytest.raises(SpecError, match="disagree"):
            plan(action="train", train_datasets=(split,), overrides=sets)

    def test_calibration_never_asks_for_more_images_than_there_are(self, run, split):
        touch(run / "export", "detector.onnx")
        sets = (
            "gen_trt_engine.tensorrt.data_type=INT8",
            "gen_trt_engine.tensorrt.calibration.cal_batch_size=2",
            "gen_trt_engine.tensorrt.calibration.cal_batches=10",
        )
        document = plan(
            action="gen_trt_engine",
            parent=str(run),
            calibration_datasets=(f"{split}/img",),
            overrides=sets,
            platform="tao-docker",
            full=True,
        )
        calibration = document["spec"]["gen_trt_engine"]["tensorrt"]["calibration"]
        assert (calibration["cal_batch_size"], calibration["cal_batches"]) == (2, 1)
        overrides = document["spec_overrides"]
        assert overrides["gen_trt_engine.onnx_file"].endswith("export/detector.onnx")
        assert any("3 calibration images" in warning for warning in document["warnings"])

    def test_pruning_says_what_the_number_means(self, run):
        document = plan(action="prune", parent=str(run), overrides=("prune.ch_sparsity=0.3",))
        assert any("30% of the channels" in why for why in document["why"])


class TestAutoML:
    @pytest.fixture
    def installed(self):
        """NVIDIA's AutoML skill in the project's folder."""
        skill = Path(".agents/skills/tao-run-automl")
        skill.mkdir(parents=True)
        (skill / "SKILL.md").touch()
        return skill

    def test_without_nvidia_s_skill_it_runs_here(self, split):
        document = plan(action="train", train_datasets=(split,), write="run")
        assert document["route"]["runner"] == "ocdnet automl"
        assert document["commands"] == ["ocdnet automl -e run/train.yaml --trials 10"]
        assert document["outputs"]["folder"] == "results/automl"
        assert "10 AutoML trials" in document["summary"]
        assert any("skill is not installed" in why for why in document["why"])
        assert "install" not in document["route"]

    def test_with_nvidia_s_skill_it_is_handed_over(self, installed, split):
        Path("words").symlink_to(split)
        document = plan(action="train", train_datasets=("words",), results_dir="/out", write="run")
        route = document["route"]
        assert (route["runner"], route["skill_found_at"]) == ("skill", str(installed.absolute()))
        assert document["commands"] == []
        # Its trials run elsewhere, each in a folder of its own.
        (path,) = document["spec_overrides"]["dataset.train_dataset.data_path"]
        assert Path(path).is_absolute()
        assert "results_dir" not in document["spec_overrides"]
        assert "/out" not in Path("run/train.yaml").read_text()

    def test_nvidia_s_image_has_no_search_of_ours(self, split):
        document = plan(action="train", train_datasets=(split,), platform="tao-docker")
        assert document["route"]["runner"] == "skill"
        assert "npx skills add" in document["route"]["install"]
        assert document["route"]["or_direct"] == "add --automl-policy off"

    def test_what_is_handed_to_nvidia_s_image_holds_no_key_of_ours(self, split):
        sets = ("train.keep_checkpoints=2",)
        given = {"train_datasets": (split,), "platform": "tao-docker", "overrides": sets}
        document = plan(action="train", **given)
        assert "train.keep_checkpoints" not in document["spec_overrides"]
        assert any("keep_checkpoints" in warning for warning in document["warnings"])

    @pytest.mark.parametrize("action", ["resume", "retrain"])
    def test_only_a_new_training_is_searched_here(self, run, split, action):
        touch(run / "prune", "pruned_0.3.pth")
        parent = {"resume": run / "train", "retrain": run / "prune"}[action]
        sets = ("train.num_epochs=9",)
        given = {"train_datasets": (split,), "automl_policy": "on", "overrides": sets}
        document = plan(action=action, parent=str(parent), **given)
        assert document["route"]["runner"] == "skill"

    def test_budget_and_metric_are_the_user_s(self, split, test_split):
        given = {"train_datasets": (split,), "eval_datasets": (test_split,)}
        document = plan(action="train", trials=25, metric="hmean", write="run", **given)
        route = document["route"]
        assert route["budget"]["automl_max_recommendations"] == 25
        assert (route["metric"], route["direction"]) == ("hmean", "maximize")
        (command,) = document["commands"]
        assert command.endswith("--trials 25 --metric hmean")
        direct = plan(action="train", trials=25, automl_policy="off", **given)
        assert any("which this is not" in warning for warning in direct["warnings"])

    def test_the_log_s_name_of_the_loss_is_the_loss(self, split):
        by_log = plan(action="train", train_datasets=(split,), metric="train_loss_epoch")
        assert by_log == plan(action="train", train_datasets=(split,), metric="train_loss")
        assert by_log["route"]["metric"] == "train_loss"

    @pytest.mark.parametrize(("key", "value"), [("trials", 0), ("metric", "f1")])
    def test_a_budget_or_metric_that_is_none(self, key, value):
        with pytest.raises(UsageError) as raised:
            Request(action="train", **{key: value})
        assert raised.value.code == "bad-choice"

    def test_several_gpus_are_several_trials(self, split):
        document = plan(action="train", train_datasets=(split,), overrides=("train.num_gpus=4",))
        assert document["commands"][1].endswith("--trials 10 --workers 4")
        assert not any("a step" in warning for warning in document["warnings"])

    def test_an_earlier_search_is_never_written_over(self, split):
        touch(Path("results/automl"), "results.json")
        document = plan(action="train", train_datasets=(split,))
        assert document["spec_overrides"]["results_dir"] == "results-2"

    @pytest.mark.parametrize("platform", ["docker", "slurm", "kubernetes"])
    def test_it_runs_on_every_platform_of_ours(self, split, platform):
        given = {"train_datasets": (split,), "platform": platform, "write": "run"}
        image = {} if platform == "slurm" else {"image": "mine:1"}
        sets = ("train.num_gpus=2",)
        document = plan(action="train", overrides=sets, **image, **given)
        files = [Path(name).read_text() for name in document["files"] if "yaml" not in name[-10:]]
        manifests = [Path(name).read_text() for name in document["files"] if "job.yaml" in name]
        text = "\n".join([*document["commands"], *files, *manifests])
        assert "automl" in text
        assert "--workers" in text
        if platform == "slurm":
            assert "#SBATCH --ntasks-per-node=1\n#SBATCH --gpus-per-node=2\n" in text
        if platform == "kubernetes":
            assert "limits: {nvidia.com/gpu: 2}" in text

    def test_the_command_is_one_of_ours(self, split):
        document = plan(action="train", train_datasets=(split,), write="run")
        words = shlex.split(document["commands"][0])
        assert words[:2] == ["ocdnet", "automl"]
        with automl.make_context("automl", words[2:]) as context:
            assert context.params["trials"] == 10


class TestWords:
    def test_they_decide_the_policy_and_nothing_else(self, split):
        text = "plain training for 40 epochs on /data/x, then evaluate and export"
        document = plan(action="train", text=text, train_datasets=(split,))
        assert document["route"]["kind"] == "direct"
        direct = plan(action="train", automl_policy="off", train_datasets=(split,))
        alike = set(document) - {"why"}
        assert {key: document[key] for key in alike} == {key: direct[key] for key in alike}

    @pytest.mark.parametrize("action", ["evaluate", "export"])
    def test_the_action_is_the_one_given(self, run, action):
        given = {"parent": str(run), "eval_datasets": ("/data",), "platform": "slurm"}
        texts = ("", "train a new model", "don't export, evaluate or train")
        documents = [plan(action=action, text=text, **given) for text in texts]
        assert documents == documents[:1] * 3
        assert documents[0]["action"] == action

    def test_it_does_not_read_words(self, split):
        text = "train a model to read the words"
        document = plan(action="train", text=text, train_datasets=(split,))
        assert any("OCRNet" in warning for warning in document["warnings"])

    @pytest.mark.parametrize(
        "text",
        ["", "Bitte das Modell verbessern", "train", "what can I do without training again?"],
    )
    def test_no_action_is_an_error_that_lists_them_all(self, text):
        with pytest.raises(UsageError) as raised:
            plan(text=text, train_datasets=("/data",))
        error = raised.value
        assert (error.code, error.exit_code) == ("no-action", 2)
        assert [line.partition(": ")[0] for line in error.expected] == list(ACTIONS)
        assert all(line.partition(": ")[2].endswith(".") for line in error.expected)
        assert "plan --action train" in error.hint
        assert "OCRNet" not in error.message

    def test_who_asks_to_read_without_an_action_learns_who_reads(self):
        with pytest.raises(UsageError) as raised:
            plan(text="Read the words on these signs")
        assert "OCRNet reads" in raised.value.message


class TestPlatforms:
    def test_an_engine_is_built_here_or_in_nvidias_image(self, run):
        touch(run / "export", "detector.onnx")
        given = {"action": "gen_trt_engine", "parent": str(run)}
        here = plan(**given, write="here")
        assert here["commands"] == ["ocdnet gen_trt_engine -e here/gen_trt_engine.yaml"]
        there = plan(**given, platform="tao-docker", write="there")
        assert there["image"] == "nvcr.io/nvidia/tao/tao-toolkit:7.1.0-deploy"
        assert any("ocdnet gen_trt_engine -e" in command for command in there["commands"])

    def test_results_at_a_uri_are_rays(self, run):
        given = {"action": "inference", "parent": str(run), "inference_dataset": "s3://b/photos"}
        document = plan(**given, results_dir="s3://b/out/", write="there")
        assert document["commands"] == ["ocdnet inference -e there/inference.yaml --runner ray"]
        assert document["spec_overrides"]["inference.input_folder"] == "s3://b/photos"
        assert document["outputs"]["folder"] == "s3://b/out/inference"
        for other in ({"platform": "slurm"}, {"action": "export"}):
            with pytest.raises(UsageError, match="not to a URI"):
                plan(**given | {"results_dir": "s3://b/out"} | other)

    def test_a_network_is_pruned_and_retrained_here(self, run, split):
        pruning = plan(action="prune", parent=str(run), write="p")
        assert pruning["commands"] == ["ocdnet prune -e p/prune.yaml"]
        assert spec.load("prune", Path("p/prune.yaml"), []).experiment.prune.checkpoint.endswith(
            "model_best.pth"
        )
        touch(run / "prune", "pruned_0.1.pth")
        parent = str(run / "prune")
        again = plan(action="retrain", parent=parent, train_datasets=(split,), write="r")
        assert again["commands"] == ["ocdnet train -e r/retrain.yaml"]
        model = spec.load("retrain", Path("r/retrain.yaml"), []).experiment.model
        assert model.load_pruned_graph
        assert model.pruned_graph_path.endswith("prune/pruned_0.1.pth")

    def test_tao_gets_tao_values(self, split):
        document = plan(
            action="train",
            automl_policy="off",
            train_datasets=(split,),
            platform="tao-docker",
            overrides=("train.max_minutes=3",),
            write="run",
        )
        tree = yaml_io.read(Path(document["spec_file"]))
        assert tree["dataset"]["train_dataset"]["loader"]["num_workers"] == 4
        assert "max_minutes" not in tree["train"]
        with pytest.raises(SpecError, match="cannot run"):
            plan(
                action="train",
                train_datasets=(split,),
                platform="tao-docker",
                overrides=("train.precision=bf16",),
            )

    @pytest.mark.parametrize(
        ("action", "overrides", "told"),
        [
            ("quantize", ("quantize.model_path=/m/model_best.pth",), "model_epoch_<EEE>"),
            (
                "resume",
                ("train.resume_training_checkpoint_path=/m/model_best.pth", "train.num_epochs=9"),
                "model_epoch_<EEE>",
            ),
            ("evaluate", ("evaluate.checkpoint=/m/quantized_model_torchao.pth",), "no checkpoint"),
            (
                "quantize",
                ("quantize.backend=modelopt.onnx", "quantize.model_path=/m/a.onnx"),
                "modelopt.onnx.quantization",
            ),
            (
                "quantize",
                (
                    "quantize.model_path=/m/model_epoch_001_step_00046.pth",
                    "quantize.layers=[{module_name: Conv2d, weights: {dtype: fp8_e4m3fn}}]",
                ),
                "fp8 by torchao",
            ),
            ("gen_trt_engine", ("gen_trt_engine.backend=openvino",), "left out"),
        ],
    )
    def test_what_nvidias_image_does_otherwise_is_told(self, split, run, action, overrides, told):
        touch(run / "export", "detector.onnx")
        data = (split,) if action != "evaluate" else ()
        given = {"action": action, "overrides": overrides, "eval_datasets": (split,)}
        given |= {"train_datasets": data, "calibration_datasets": (f"{split}/img",)}
        if action == "gen_trt_engine":
            given |= {"parent": str(run), "calibration_datasets": ()}
        there = plan(**given, platform="tao-docker")
        assert any(told in warning for warning in there["warnings"]), there["warnings"]
        here = plan(**given)
        assert not any(told in warning for warning in here["warnings"])

    def test_nvidias_image_reads_the_best_model_where_weights_do(self, run):
        there = plan(action="export", parent=str(run), platform="tao-docker")
        assert not any("model_best" in warning for warning in there["warnings"])

    def test_default_specs(self):
        document = plan(action="default_specs", results_dir="a b")
        assert document["commands"] == ["ocdnet default_specs 'results_dir=a b'"]


class TestBadSpecs:
    @pytest.mark.parametrize(
        ("override", "code"),
        [
            ("train.num_epochs=ten", "wrong-type"),
            ("train.num_epochs=0", "out-of-range"),
            ("model.backbone=vgg16", "bad-choice"),
            ("train.epochs=3", "unknown-key"),
            ("evaluate.checkpoint=m.pth", "key-not-read"),
            ("train.num_epochs", "bad-override"),
            ("train.optimizer.args.lr=.nan", "not-finite"),
        ],
    )
    def test_a_bad_override(self, split, override, code):
        with pytest.raises(SpecError) as raised:
            plan(action="train", train_datasets=(split,), overrides=(override,), write="run")
        assert raised.value.code == code
        assert not Path("run").exists()

    def test_the_users_own_file_is_read_as_train_reads_it(self, split):
        Path("mine.yaml").write_text("train: {num_epochs: 7}\nevaluate: {checkpoint: x.pth}\n")
        document = plan(action="train", train_datasets=(split,), spec="mine.yaml")
        assert document["spec_overrides"]["train.num_epochs"] == 7
        Path("mine.yaml").write_text("train: {num_epochs: 7}\nevaluat: {}\n")
        with pytest.raises(SpecError) as raised:
            plan(action="train", train_datasets=(split,), spec="mine.yaml")
        assert raised.value.code == "unknown-key"


def test_a_parent_whose_model_is_not_taken_is_told(run):
    document = plan(
        action="evaluate", parent=str(run), overrides=("evaluate.checkpoint=/other/model.pth",)
    )
    assert document["spec_overrides"]["evaluate.checkpoint"] == "/other/model.pth"
    (warning,) = [text for text in document["warnings"] if "evaluate.checkpoint" in text]
    assert str(run) in warning


def test_a_part_that_is_planned_alone_is_said():
    part = "inference.shards=8", "inference.shard=3"
    document = plan(action="inference", platform="slurm", overrides=part)
    assert document["outputs"]["folder"] == "results/inference/shards/3"
    assert any("--shards 8" in warning for warning in document["warnings"])
    with pytest.raises(UsageError, match=r"inference\.shards"):
        plan(action="inference", platform="slurm", overrides=part, shards=4)
