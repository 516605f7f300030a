"""`ocdnet automl` as a user meets it: its help, what it refuses, what is told of a search."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import results_folders as folders
import support
from automl import searching as made
from ocdnet.automl.study import masked
from ocdnet.cli.automl import automl
from ocdnet.cli.results import next_, status
from ocdnet.config import spec
from ocdnet.report.page import write_report
from ocdnet.runs.jobs import run_folders
from ocdnet.runs.parsing import parse
from ocdnet.runs.searches import SearchResult
from ocdnet.runs.typed import to_json

BLOCKED = "import sys; sys.modules['optuna'] = None; from ocdnet.cli.main import main; main()"
LOGIN = ":".join(("me", "secret"))  # in one word scanners take it for a credential
SQL = ("--study", "words", "--storage")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The folder of a finished search of six trials, some of them failed."""
    out = tmp_path_factory.mktemp("found")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAKE_TRAIN", json.dumps({"fail_above": 0.002}))
        result = made.ran(made.search(out, 6))
    assert result["states"]["failed"] >= 1
    return out


def spec_file(tmp_path, *overrides):
    path = tmp_path / "spec.yaml"
    path.write_text(spec.to_yaml(made.tree(tmp_path, *overrides)))
    return path


def failed(*arguments, code="from ocdnet.cli.main import main; main()"):
    """Exit code and error of the real command."""
    command = [sys.executable, "-c", code, "automl", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)["error"]


def test_help_needs_no_optuna_and_shows_examples():
    code = (
        "import sys, atexit; from ocdnet.cli.main import main;"
        "heavy = {'optuna', 'pydantic', 'torch', 'numpy'};"
        "atexit.register(lambda: print(heavy & set(sys.modules)));"
        "sys.argv[1:] = ['automl', '--help']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
    for told in ("Examples:", "--minutes", "never repeated", "Exit codes"):
        assert told in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("overrides", "flags", "exit_code", "code", "hint"),
    [
        ([], ["--search", "train.seed"], 3, "not-searchable", "Set it as an override: KEY=VALUE."),
        (
            [],
            ["--search", "train.loss.alpha"],
            3,
            "wrong-metric",
            "Add --metric hmean, or leave out --search train.loss.alpha.",
        ),
        # The log's name of train_loss.
        (
            [],
            ["--metric", "train_loss_epoch", "--search", "train.loss.alpha"],
            3,
            "wrong-metric",
            None,
        ),
        (
            ["dataset.validate_dataset.data_path=[]"],
            ["--metric", "hmean"],
            3,
            "missing-value",
            "Add dataset.validate_dataset.data_path=[/path/to/it], "
            "or search with --metric train_loss.",
        ),
        (
            ["train.resume_training_checkpoint_path=/x.pth"],
            [],
            3,
            "conflict",
            "Remove it: train.resume_training_checkpoint_path=",
        ),
        (["train.is_dry_run=true"], [], 3, "conflict", "Remove it: train.is_dry_run=false"),
        ([], ["--study", "words"], 2, "study-without-storage", None),
        ([], [*SQL, "mysql+nodriver://host/x"], 5, "no-storage", None),
        ([], [*SQL, "no url"], 5, "no-storage", None),
        ([], [*SQL, "sqlite:////nowhere/at/all.db"], 5, "no-storage", None),
        ([], [*SQL, f"oracle+oracledb://{LOGIN}@host/x"], 5, "missing-driver", None),
    ],
)
def test_what_is_refused(tmp_path, overrides, flags, exit_code, code, hint):
    returned, error = failed("-e", spec_file(tmp_path, *overrides), *flags)
    assert (returned, error["code"]) == (exit_code, code), error
    assert hint is None or error["hint"] == hint
    assert "secret" not in json.dumps(error)
    assert not (tmp_path / "automl" / "results.json").exists()


def test_without_results_dir_it_says_what_is_missing(tmp_path):
    returned, error = failed("-e", spec_file(tmp_path), "results_dir=")
    assert (returned, error["code"]) == (3, "missing-value")
    assert "results_dir" in error["message"]


def test_without_optuna_it_says_how_to_get_it(tmp_path):
    returned, error = failed("-e", spec_file(tmp_path), code=BLOCKED)
    assert (returned, error["code"]) == (5, "missing-package")
    assert "optuna" in error["message"]
    assert "automl" in error["hint"]


def test_the_first_trial_s_real_error_is_the_command_s(tmp_path):
    """The real `ocdnet train` as the trial: its data does not exist."""
    path = spec_file(tmp_path, f"dataset.train_dataset.data_path=[{tmp_path}/none]")
    returned, error = failed("-e", path, "--trials", "2")
    assert returned == 4
    assert str(tmp_path / "none") in json.dumps(error)
    log = (tmp_path / "automl" / "trial_000" / "log.txt").read_text()
    assert f"{tmp_path}/none" in log


def test_real_trials_and_what_follows_them(tmp_path):
    """Nothing is fake here: `ocdnet automl`, its trainings, and evaluate as `next` prints it."""
    support.write_blocks(tmp_path / "words", 2, seed=0)
    sides = {
        "dataset.train_dataset.args.pre_processes.0.args.size": "[64,64]",
        "dataset.validate_dataset.args.pre_processes.0.args.short_size": "[64,64]",
    }
    overrides = [
        f"results_dir={tmp_path}/results",
        f"dataset.train_dataset.data_path=[{tmp_path}/words]",
        f"dataset.validate_dataset.data_path=[{tmp_path}/words]",
        "dataset.train_dataset.loader={batch_size: 2, num_workers: 0}",
        "dataset.validate_dataset.loader.num_workers=0",
        "model.backbone=mobilenet_v2",
        "train.num_epochs=1",
        *(f"{key}={value}" for key, value in sides.items()),
    ]
    (tmp_path / "spec.yaml").write_text("{}")
    ocdnet = [sys.executable, "-m", "ocdnet.cli.main"]
    command = [*ocdnet, "automl", "-e", str(tmp_path / "spec.yaml"), "--trials", "2", *overrides]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "[2 of 2] trial 1 complete: train_loss" in done.stderr
    found = made.results(tmp_path / "results" / "automl")
    assert found["states"]["complete"] == 2
    for row in found["trials"]:
        experiment = spec.load("train", Path(row["folder"]) / "experiment.yaml").experiment
        assert experiment.train.optimizer.args.lr == row["settings"][made.LR]
    follow_ups = {one["action"]: one for one in told(next_, tmp_path / "results")["follow_ups"]}
    words = shlex.split(follow_ups["evaluate"]["command"])[1:]
    done = subprocess.run(
        [*ocdnet, *words], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == 2


def test_passwords_are_masked():
    assert masked(f"postgresql://{LOGIN}@host/x") == "postgresql://me:***@host/x"
    assert masked("sqlite:////tmp/x.db") == "sqlite:////tmp/x.db"


def told(command, folder):
    done = CliRunner().invoke(command, [str(folder)], catch_exceptions=False)
    (job,) = json.loads(done.stdout)["jobs"]
    return job


def test_status_tells_trials_and_the_best(found):
    job = told(status, found)
    result = made.results(found / "automl")
    best = result["best"]
    assert (job["action"], job["state"]) == ("automl", "SUCCESS")
    assert job["trials"] == {
        "complete": result["states"]["complete"],
        "failed": result["states"]["failed"],
        "of": 6,
    }
    assert job["best_trial"] == {
        "trial": best["trial"],
        "train_loss": best["value"],
        "settings": best["settings"],
    }
    assert told(status, found / "automl")["trials"] == job["trials"]


def test_next_hands_on_the_best_model_and_the_best_spec(found):
    follow_ups = {one["action"]: one for one in told(next_, found)["follow_ups"]}
    assert set(follow_ups) == {"evaluate", "inference", "export", "prune", "train"}
    assert follow_ups["evaluate"]["takes"] == str(found / "automl" / "model_best.pth")
    words = shlex.split(follow_ups["train"]["command"])
    assert words[:3] == ["ocdnet", "train", "-e"]
    loaded = spec.load("train", Path(words[3]), [*words[4:], "train.num_epochs=50"])
    best = made.results(found / "automl")["best"]
    assert loaded.experiment.train.optimizer.args.lr == best["settings"][made.LR]


def test_a_search_that_was_interrupted_is_told_with_the_command_that_goes_on(tmp_path):
    process = made.command(tmp_path, "--trials", "3", "--fix", made.DECAY, seconds=0.5)
    folder = tmp_path / "automl"
    made.wait_until((folder / "trial_001" / "status.json").exists, process)
    at_work = told(status, tmp_path)
    assert at_work["state"] in ("STARTED", "RUNNING")
    assert at_work["trial_at_work"]["epochs"] in (made.EPOCHS, None)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 130
    job = told(status, tmp_path)
    assert (job["state"], job["error"]) == ("FAILURE", "interrupted")
    words = shlex.split(job["resume"])
    assert words[:2] == ["ocdnet", "automl"]
    with automl.make_context("automl", words[2:]) as context:
        given = context.params
    assert (given["trials"], given["fixed"], given["pruner"]) == (3, (made.DECAY,), "none")
    # The experiment of the search is a spec that leads to the same search.
    loaded = spec.load("train", given["spec_file"], given["overrides"])
    assert Path(loaded.experiment.results_dir) == tmp_path


@pytest.mark.parametrize("asked", [3, "train.loss.alpha", {"a": 1}, None])
def test_what_a_spoilt_results_json_asks_for_is_passed_over(tmp_path, asked):
    folder = tmp_path / "automl"
    folder.mkdir()
    (folder / "experiment.yaml").write_text("train: {num_epochs: 2}\n")
    lines = [("STARTED", "Starting OCDNet automl."), ("FAILURE", "interrupted")]
    (folder / "status.json").write_text(
        "".join(json.dumps({"status": state, "message": text}) + "\n" for state, text in lines)
    )
    result = to_json(folders.searched(folder))
    result["search"] |= {"asked": asked, "fixed": asked, "trials": 4}
    (folder / "results.json").write_text(json.dumps(result))
    resume = told(status, tmp_path)["resume"]
    assert "--search" not in resume
    assert resume.endswith("--metric hmean --trials 4 --sampler tpe --pruner asha")


def test_the_report_shows_history_importance_slices_and_trials(found):
    told = write_report(found, found / "page.html", "ocdnet")
    page = (found / "page.html").read_text()
    assert told["jobs"][0]["action"] == "automl"
    for text in (
        "train_loss of each trial",
        "train_loss by lr",
        "train_loss by weight_decay",
        "Every trial (6)",
        "as given)",
        "It says out-of-memory",
    ):
        assert text in page, text
    assert page.count("<circle") > 6


@pytest.mark.parametrize(
    "changes", [{"metric": "loss"}, {"action": "train"}, {"best": 3}, {"states": None}]
)
def test_what_is_no_search_is_noted_and_is_none(tmp_path, changes):
    folder = folders.job(tmp_path / "automl", "automl")
    result = to_json(folders.searched(folder)) | changes
    (folder / "results.json").write_text(json.dumps(result))
    (job,) = run_folders(tmp_path)
    assert (job.action, job.search) == ("automl", None)
    assert "results.json" in job.notes[0]


def test_rows_that_are_none_are_passed_over(tmp_path):
    rows = [
        *(None, [], {}, {"trial": -1, "state": "complete"}, {"trial": True, "state": "complete"}),
        {"trial": 1, "state": "complete", "value": "nan", "settings": [], "error": 3},
        {"trial": 2, "state": "complete", "value": 0.5, "settings": {"a": "<b>"}},
    ]
    document = to_json(folders.searched(tmp_path)) | {
        "trials": rows,
        "importance": {"a": "x", "b": 2, "c": 0.5},
        "search": {"trials": True},
        "best": rows[-1],
    }
    notes = []
    search = parse(SearchResult, document, "results.json", notes)
    assert [trial.trial for trial in search.trials] == [1, 2]
    assert (search.best.trial, search.search.trials) == (2, None)
    assert search.importance == {"c": 0.5}
    assert any("trials.3.trial is -1, not a number 0 or more" in note for note in notes)
