"""`ocdnet status` and `ocdnet next` as a shell runs them."""

from __future__ import annotations

import ast
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import bpe_openai
import pytest

import results_folders as made
from ocdnet.runs.status import StatusWriter

RUNTIME = Path(__file__).parents[2] / "runtime"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(RUNTIME)}
MAIN = [sys.executable, "-m", "ocdnet.cli.main"]


def ocdnet(*arguments, code=0, cwd=None):
    """Run the command; its one JSON document, and what it said on stderr."""
    done = subprocess.run(
        [*MAIN, *map(str, arguments)],
        env=ENVIRONMENT,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout), done.stderr


def test_status_tells_state_epoch_scores_and_files(tmp_path):
    made.train(tmp_path / "train")
    (job,) = ocdnet("status", tmp_path)[0]["jobs"]
    expected = {"action": "train", "state": "SUCCESS", "epoch": 3, "epochs": 3}
    assert expected.items() <= job.items()
    assert job["best"] == {"epoch": 2, "metric": "hmean", "value": 0.6}
    assert job["kpis"]["train_loss"] == 7.0
    assert job["files"]["checkpoints"] == 3
    assert "eta" not in job


def test_of_epochs_that_found_nothing_none_is_the_best(tmp_path):
    made.train(tmp_path / "train", scores=(0.0, 0.0))
    (job,) = ocdnet("status", tmp_path)[0]["jobs"]
    assert "best" not in job
    assert job["kpis"]["hmean"] == 0


def test_status_tells_how_long_it_will_take_and_when_it_is_perhaps_killed(tmp_path):
    folder = made.train(tmp_path / "train", epochs=9, end=None)
    (job,) = ocdnet("status", tmp_path)[0]["jobs"]
    assert (job["epoch"], job["epochs"], job["eta"]) == (3, 9, "1:00:00")
    assert not {"perhaps_killed", "resume"} & job.keys()
    made.silence(folder, 3600)
    (job,) = ocdnet("status", tmp_path)[0]["jobs"]
    assert job["perhaps_killed"]
    assert job["silent_for"].startswith("1:00:0")
    assert "train.resume_training_checkpoint_path=" in job["resume"]
    assert "eta" not in job


def test_a_failure_is_told_with_its_remedy(tmp_path):
    made.train(tmp_path / "train", end="Out of memory. Lower the batch size.")
    (job,) = ocdnet("status", tmp_path)[0]["jobs"]
    assert (job["state"], job["error"]) == ("FAILURE", "Out of memory. Lower the batch size.")
    assert "resume" in job


@pytest.mark.parametrize("command", [["status"], ["next"], ["status", "--follow"]])
@pytest.mark.parametrize("kind", ["missing", "empty", "foreign"])
def test_a_folder_without_jobs_ends_with_4(tmp_path, command, kind):
    root = tmp_path / "there"
    if kind != "missing":
        root.mkdir()
    if kind == "foreign":
        (root / "notes.txt").touch()
    document, said = ocdnet(*command, root, code=4)
    assert document["error"]["code"] == ("no-such-folder" if kind == "missing" else "no-job")
    assert said.count("\n") == 1


def tokens(document):
    return len(bpe_openai.get_encoding("o200k_base").encode(json.dumps(document, indent=2)))


@pytest.mark.parametrize("command", ["status", "next"])
def test_the_answer_is_bounded_whatever_the_folder_holds(tmp_path, command):
    root = tmp_path / ("deep" * 20) / ("results" * 10)
    for number in range(40):
        folder = made.train(root / f"run {number}", end="reason \x1b[31m\u2028" * 999)
        for epoch in range(3, 40):
            made.checkpoint(folder, epoch)
    document, _ = ocdnet(command, root)
    assert tokens(document) <= 2000
    assert document["jobs"]
    assert document["left_out"][-1].startswith("and ")


def test_both_are_light(tmp_path):
    made.train(tmp_path / "train", end="no")
    code = (
        "import sys; from ocdnet.cli import results; "
        "from click.testing import CliRunner; "
        "both = (results.status, results.next_); "
        f"done = [CliRunner().invoke(command, [{str(tmp_path)!r}]) for command in both]; "
        "assert all(d.exit_code == 0 for d in done), done; "
        "print({m.partition('.')[0] for m in sys.modules} | "
        "{m for m in sys.modules if m.startswith('ocdnet.config')})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    heavy = {"torch", "numpy", "cv2", "pydantic", "jsonschema", "jinja2", "ocdnet.config"}
    assert not heavy & ast.literal_eval(done.stdout)


def following(root):
    return subprocess.Popen(
        [*MAIN, "status", str(root), "--follow"],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_following_tells_each_change_and_ends_with_the_run(tmp_path):
    folder = made.train(tmp_path / "train", scores=(0.1,), epochs=2, end=None)
    status = StatusWriter(folder / "status.json")
    with following(tmp_path) as process:
        first = json.loads(process.stdout.readline())
        assert (first["state"], first["epoch"]) == ("RUNNING", 1)
        status.write("RUNNING", "Training loop in progress", epoch=1, max_epoch=1)
        second = json.loads(process.stdout.readline())
        assert (second["epoch"], second["epochs"]) == (2, 2)
        status.write("SUCCESS", "train finished successfully.")
        rest, said = process.communicate(timeout=20)
        assert json.loads(rest.splitlines()[-1])["state"] == "SUCCESS"
        assert process.returncode == 0
        assert "epoch 1/2" in said


def test_following_a_run_that_ended_ends_at_once(tmp_path):
    made.train(tmp_path / "train")
    made.job(tmp_path / "evaluate", "evaluate")
    with following(tmp_path) as process:
        out, _ = process.communicate(timeout=20)
    assert [json.loads(line)["action"] for line in out.splitlines()] == ["train", "evaluate"]


def test_ctrl_c_stops_following_with_130(tmp_path):
    made.train(tmp_path / "train", epochs=9, end=None)
    with following(tmp_path) as process:
        process.stdout.readline()
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in said


def test_a_real_run_is_told_and_its_next_commands_are_valid(detector, tmp_path):
    root = detector.parent.parent
    (job,) = (j for j in ocdnet("status", root)[0]["jobs"] if j["action"] == "train")
    assert (job["state"], job["epoch"], job["epochs"]) == ("SUCCESS", 30, 30)
    assert job["best"]["metric"] == "hmean"
    (row,) = (j for j in ocdnet("next", root)[0]["jobs"] if j["action"] == "train")
    offered = {item["action"]: item for item in row["follow_ups"]}
    assert {"evaluate", "inference", "export"} <= offered.keys()
    for action, item in offered.items():
        best = Path(item["takes"])  # the epoch's own file, where a full checkpoint is needed
        assert best in (detector, detector.parent / "model_epoch_029_step_00120.pth")
        _, run, _, file, *overrides = shlex.split(item["command"])
        more = [need.replace("FOLDER", str(tmp_path)) for need in item.get("needs", [])]
        assert ocdnet("spec", "validate", run, file, *overrides, *more)[0]["ok"], action
