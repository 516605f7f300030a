"""`ocdnet plan --estimate`: a few steps of the planned training, timed, and nothing left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import jsonschema
import pytest

import support
from ocdnet.cli import estimate
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.policy.plan_record import DirectRoute, Extraction, Missing, Outputs, Plan
from ocdnet.policy.request import Request

SCHEMA = json.loads((skill_dir() / "schemas/plan.schema.json").read_text())
SMALL = (
    "model.backbone=mobilenet_v2",
    "dataset.train_dataset.args.pre_processes.0.type=WordCrop",
    "dataset.train_dataset.args.pre_processes.0.args={size: [64, 64]}",
    "dataset.validate_dataset.args.pre_processes.0.args.short_size=[64, 64]",
    "dataset.train_dataset.loader={batch_size: 1, num_workers: 0}",
    "dataset.validate_dataset.loader.num_workers=0",
    "train.num_epochs=5",
)


def planned(folder, *flags):
    command = [sys.executable, "-m", "ocdnet.cli.main", "plan", "--action", "train", *flags]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=240
    )
    assert "Traceback" not in done.stderr, done.stderr
    document = json.loads(done.stdout)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    return document


def test_it_times_the_real_training_and_keeps_nothing(tmp_path):
    support.write_blocks(tmp_path / "words", 4, seed=0)
    sets = [word for value in SMALL for word in ("--set", value)]
    data = ("--train-dataset", "words", "--eval-dataset", "words")
    document = planned(tmp_path, *data, *sets, "--trials", "3", "--estimate")
    found = document["estimate"]
    assert found["epoch_seconds"] >= 4 * found["step_seconds"] - 0.1
    assert found["step_seconds"] > 0
    assert found["run_seconds"] == pytest.approx(5 * found["epoch_seconds"], abs=0.5)
    assert found["total_seconds"] == pytest.approx(3 * found["run_seconds"], abs=0.5)
    assert "for 3 trials one after the other" in found["in_words"]
    assert [path.name for path in tmp_path.iterdir()] == ["words"]


def test_data_that_cannot_be_read_is_a_warning_with_the_reason(tmp_path):
    for name in ("img/a.png", "gt/gt_a.txt"):
        (tmp_path / "words" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "words" / name).touch()
    document = planned(tmp_path, "--train-dataset", "words", "--estimate")
    assert "estimate" not in document
    assert document["commands"]
    assert any(warning.startswith("No estimate of time: ") for warning in document["warnings"])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"action": "export"}, "only training is timed."),
        (
            {"missing": (Missing(about="--parent", question="Which?", blocking=True),)},
            "questions are open.",
        ),
        (
            {"extract": (Extraction(archive="a.zip", to="a", command="unpack"),)},
            "the data must be unpacked first.",
        ),
    ],
)
def test_what_cannot_be_timed_starts_nothing(monkeypatch, changes, why):
    monkeypatch.setattr(subprocess, "run", None)
    plan = Plan(
        action="train",
        summary="Train.",
        route=DirectRoute(),
        why=(),
        spec_overrides={},
        commands=(),
        outputs=Outputs(folder="results", files=("status.json",)),
        warnings=("a",),
        missing=(),
    )
    monkeypatch.setattr(estimate, "build", lambda *_: replace(plan, **changes))
    timed = estimate.estimated(Request(action="train"), Skill(skill_dir()), "ocdnet")
    assert timed.warnings == ("a", f"No estimate of time: {why}")
    assert timed.estimate is None
