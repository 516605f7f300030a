"""NVIDIA's AutoML client trains with this folder: without docker, and as in its containers."""

from __future__ import annotations

import json
import math
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import fsspec
import jsonschema
import pytest

import support
from ocdnet.config import spec
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.policy.request import Request
from ocdnet.tree import keys, yaml_io
from plans import build

pytestmark = pytest.mark.client
pytest.importorskip("tao_automl", reason="`make test-client` installs it")
runner = pytest.importorskip("tao_automl.runner")
script_runner = pytest.importorskip("tao_sdk.script_runner")

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "references/automl-client.md").read_text(encoding="utf-8")
SCHEMA = json.loads((ROOT / "schemas/train.schema.json").read_text(encoding="utf-8"))
DATA = ("dataset.train_dataset.data_path", "dataset.validate_dataset.data_path")
LR = "train.optimizer.args.lr"
NEAR = 1e-5
"""The client reads the loss from the log, which has six decimals."""


class QuickRunner(runner.AutoMLRunner):
    """The client's runner, which looks at a trial each half second instead of each 30."""

    def __init__(self, **given):
        super().__init__(**given, poll_interval=0.5)


class Platform:
    """Stands for a platform of containers or of processes: notes the jobs, says all is well."""

    def __init__(self):
        self.jobs = []

    def create_job(self, image, command, **options):
        self.jobs.append({"image": image, "command": command, "options": options})
        return SimpleNamespace(id=f"job-{len(self.jobs)}")

    def create_python_job(self, script, specs, **options):
        self.jobs.append({"script": script, "specs": specs, "options": options})
        return SimpleNamespace(id=f"job-{len(self.jobs)}")

    def specs(self):
        """What each job was given."""
        return [job.get("specs") or json.loads(words_of(job)["--specs"]) for job in self.jobs]

    def get_job_logs(self, job, tail=None):
        return f"train_loss_epoch: {job.removeprefix('job-')}.5\n"

    def get_job_status(self, job):
        return SimpleNamespace(status="Complete")


def words_of(job):
    """The options of the command that a container runs, by name."""
    words = shlex.split(job["command"].splitlines()[-1])
    return dict(zip(words[2::2], words[3::2], strict=True))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A user's folder: four images to train on, two to validate on."""
    folder = tmp_path_factory.mktemp("project")
    support.write_blocks(folder / "words/train", 4, seed=0)
    support.write_blocks(folder / "words/test", 2, seed=1)
    return folder


def planned(project, *more, **request):
    """The plan of a search whose trials take seconds."""
    overrides = (
        "train.num_epochs=1",
        "train.precision=fp32",
        "dataset.train_dataset.args.pre_processes.0.args.size=[96,96]",
        "dataset.validate_dataset.args.pre_processes.0.args.short_size=[96,96]",
        "dataset.train_dataset.loader.batch_size=2",
        "dataset.train_dataset.loader.num_workers=0",
        "dataset.validate_dataset.loader.num_workers=0",
        *more,
    )
    wanted = Request(
        action="train",
        train_datasets=(str(project / "words/train"),),
        eval_datasets=(str(project / "words/test"),),
        overrides=overrides,
        **request,
    )
    return build(wanted, Skill(skill_dir()), "ocdnet")


@pytest.fixture(scope="module")
def plan(project):
    return planned(project, "model.backbone=mobilenet_v2", full=True)


def filled(value, plan, project):
    """The page's file, its <...> replaced as the page says."""
    if isinstance(value, dict):
        return {key: filled(item, plan, project) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, plan, project) for item in value]
    if not isinstance(value, str):
        return value
    known = {"train": project / "words/train", "eval": project / "words/test"}
    for name, stands in (known | {"project": project, "venv": sys.prefix}).items():
        value = value.replace(f"<{name}>", str(stands))
    if not value.startswith("<"):
        return value
    names_alone, name = re.fullmatch(r"<(keys of )?([\w.]+)>", value).groups()
    found = keys.get(plan, name)
    assert found, f"the plan holds no {name}"
    return sorted(found) if names_alone else found


@pytest.fixture
def plan_file(plan, project):
    """The page's file of this plan, for two trials whose results are all kept.

    Its URIs alone say where the data is.
    """
    (block,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    document = filled(json.loads(block), plan, project)
    budget = plan["route"]["budget"]["automl_max_recommendations"]
    assert document["automl_settings"]["automl_max_recommendations"] == budget
    document["automl_settings"] |= {
        "automl_max_recommendations": 2,
        "automl_delete_intermediate_ckpt": False,
    }
    (step,) = document["steps"]
    given = step["params"]["spec_overrides"]
    step["params"]["spec_overrides"] = {k: v for k, v in given.items() if k not in DATA}
    return document


def check_spec(trial, plan):
    """A trial's spec is valid, holds what the plan says, and searched values in the ranges."""
    jsonschema.Draft202012Validator(SCHEMA).validate(spec.normalised("train", trial))
    others = {"results_dir", *DATA, *plan["route"]["custom_param_ranges"]}
    told = {key: value for key, value in plan["spec_overrides"].items() if key not in others}
    assert {key: keys.get(trial, key) for key in told} == told
    assert keys.get(trial, "train.num_epochs") == plan["route"]["budget"]["epochs_each"]
    searched = {}
    for key, ends in plan["route"]["custom_param_ranges"].items():
        searched[key] = keys.get(trial, key)
        (low,), (high,) = ends["valid_min"], ends["valid_max"]
        assert low <= searched[key] <= high * (1 + 1e-9), key
    return searched


def losses(folder):
    lines = (folder / "status.json").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    assert events[-1]["status"] == "SUCCESS"
    return [event["kpi"]["train_loss"] for event in events if "train_loss" in event.get("kpi", {})]


def check_uploads(results):
    """All but the logs of a training is uploaded from a container, by the client's own function."""
    left = {path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file()}
    logs = {name for name in left if "/lightning_logs/" in name}
    assert logs
    info = yaml_io.read(ROOT / "references/skill_info.yaml")
    memory = fsspec.filesystem("memory")
    script_runner.upload_results(
        str(results), "memory://uploads", info["actions"]["train"]["upload_excludes"]
    )
    uploaded = {name.removeprefix("/uploads/") for name in memory.find("/uploads")}
    memory.rm("/uploads", recursive=True)
    assert uploaded == left - logs
    names = {"model_best.pth", "ocd_model_latest.pth", "status.json", "results.json"}
    assert {f"train/{name}" for name in names} <= uploaded
    epochs = {f"train/{path.name}" for path in (results / "train").glob("model_epoch_*.pth")}
    assert epochs
    assert epochs <= uploaded


def test_two_trials_on_this_machine(plan, plan_file, project, monkeypatch):
    monkeypatch.setattr(runner, "AutoMLRunner", QuickRunner)
    monkeypatch.setenv("OCDNET_VENV", sys.prefix)  # not the one that this user may have
    before = set(project.iterdir())

    result = runner.run_automl_plan(plan_file, platform="virtualenv")

    trials = {}
    for entry in result["history"]:
        assert entry["status"] == "success", entry
        job = project / "automl/work/jobs" / entry["job_id"]
        given = yaml_io.read(job / "spec/spec.yaml")
        run = Path(given["results_dir"]) / "train"
        assert (run / "model_best.pth").is_file()
        assert job in run.parents, "each trial has its own results"
        folders = [keys.get(given, key) for key in DATA]
        assert folders == [[f"{project}/words/{name}/"] for name in ("train", "test")]
        check_uploads(run.parent)
        used = check_spec(yaml_io.read(run / "experiment.yaml"), plan)
        assert used == check_spec(given, plan)
        (loss,) = losses(run)
        assert math.isfinite(loss)
        assert entry["metric"] == pytest.approx(loss, abs=NEAR)
        trials[entry["job_id"]] = (loss, used)
    assert len(trials) == 2
    first, second = (used for _, used in trials.values())
    assert all(first[key] != second[key] for key in first)

    best = min(trials, key=lambda job: trials[job][0])
    assert result["best"]["job_id"] == best
    assert result["best"]["metric_value"] == pytest.approx(trials[best][0], abs=NEAR)
    assert trials[best][1].items() <= result["best"]["specs"].items()
    assert {path.name for path in set(project.iterdir()) - before} == {"automl"}


def test_a_trial_that_cannot_train_has_failed(plan_file, project, monkeypatch):
    monkeypatch.setattr(runner, "AutoMLRunner", QuickRunner)
    monkeypatch.setenv("OCDNET_VENV", sys.prefix)
    plan_file["automl_settings"]["automl_max_recommendations"] = 1
    (params,) = (step["params"] for step in plan_file["steps"])
    params["train_dataset_uri"] = gone = str(project / "words/gone")
    params["sdk_kwargs"]["work_dir"] = work = str(project / "automl/failing")
    with pytest.raises(RuntimeError, match="without a successful recommendation"):
        runner.run_automl_plan(plan_file, platform="virtualenv")
    (log,) = Path(work).glob("jobs/*/logs/job.log")
    assert gone in log.read_text(encoding="utf-8")


@pytest.mark.parametrize("in_container", [True, False], ids=["container", "virtualenv"])
def test_without_a_plan_the_searched_ranges_hold(project, tmp_path, in_container):
    """The client alone: folder, URIs, and a spec whose learning rate no search would try."""
    platform = Platform()
    search = QuickRunner(sdk=platform, skill_dir=str(ROOT))
    script = {"type": "python_script", "script": "scripts/ocdnet.py", "args": ["train"]}
    search.run(
        train_dataset_uri=str(project / "words/train"),
        automl_settings={
            "algorithm": "bayesian",
            "metric": "train_loss",
            "direction": "minimize",
            "automl_max_recommendations": 4,
        },
        spec_overrides={LR: 0.05, "dataset.train_dataset.loader.batch_size": 64},
        execution=None if in_container else script,
        workspace_path=str(tmp_path / "search"),
    )
    assert len(platform.jobs) == 4
    assert all(("image" in job) is in_container for job in platform.jobs)
    for specs in platform.specs():
        assert 1e-5 <= keys.get(specs, LR) <= 1e-2
        assert 1e-6 <= keys.get(specs, "train.optimizer.args.weight_decay") <= 1e-2
        assert keys.get(specs, DATA[0]) == [f"{project}/words/train/"]
        assert keys.get(specs, "dataset.train_dataset.loader.batch_size") == 64
        jsonschema.Draft202012Validator(SCHEMA).validate(spec.normalised("train", specs))


def test_containers_need_nothing_of_the_block(project, tmp_path):
    """The folder as it is: NVIDIA's image, keys that it knows, the command, which trains here."""
    ours = "train.keep_checkpoints=2"
    plan = planned(project, ours, platform="tao-docker", write=str(tmp_path / "plan"))
    route, platform = plan["route"], Platform()
    search = QuickRunner(sdk=platform, skill_dir=route["skill_dir"])
    assert search.skill_ctx.execution is None
    result = search.run(
        automl_settings={
            "algorithm": route["budget"]["algorithm"],
            "metric": route["metric"],
            "direction": route["direction"],
            "automl_max_recommendations": 2,
        },
        custom_param_ranges=route["custom_param_ranges"],
        spec_overrides=yaml_io.read(Path(plan["spec_file"])),
        workspace_path=str(tmp_path / "search"),
    )
    assert [entry["metric"] for entry in result["history"]] == [1.5, 2.5]
    assert [job["image"] for job in platform.jobs] == [plan["image"]] * 2
    assert plan["image"] == "nvcr.io/nvidia/tao/tao-toolkit:7.1.0-pyt"

    words = shlex.split(platform.jobs[0]["command"].splitlines()[-1])
    options = words_of(platform.jobs[0])
    assert options["--command"] == "ocdnet train -e {config_path}"
    assert options["--config-format"] == "yaml"
    assert "keep_checkpoints" not in options["--specs"]
    assert "train.keep_checkpoints" not in plan["spec_overrides"]
    check_spec(json.loads(options["--specs"]), plan)

    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "TAO_RESULTS_ROOT": str(tmp_path / "results"),
        "TAO_JOB_ID": "job-1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tao_sdk.script_runner", *words[2:]],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "results/job-1/results_dir/train"
    (loss,) = losses(folder)
    assert runner._extract_metric_from_status_file(folder / "status.json", "train_loss") == loss
