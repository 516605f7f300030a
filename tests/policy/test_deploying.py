"""The chain from an exported network to a scored engine: each plan's own command runs."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

import support
from ocdnet.config import spec
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.policy.request import Request
from ocdnet.runs.typed import to_json
from plans import build

pytestmark = pytest.mark.usefixtures("small_network")


def planned(folder, action, **given):
    request = Request(action=action, write=str(folder / action), **given)
    return build(request, Skill(skill_dir()), "ocdnet")


def run(document):
    """The plan's command, as the shell splits it."""
    from ocdnet.actions import evaluate, gen_trt_engine, inference

    (command,) = document["commands"]
    program, action, flag, file = shlex.split(command)
    assert (program, flag, document["missing"]) == ("ocdnet", "-e", [])
    actions = {"evaluate": evaluate, "inference": inference, "gen_trt_engine": gen_trt_engine}
    return to_json(actions[action].run(spec.load(action, Path(file), [])))


def test_each_plan_fits_the_job_before_it(detector, scenes, tmp_path):
    results = tmp_path / "results"
    # For 160x160, unlike every default.
    support.export(detector, results / "export/detector.onnx", f"results_dir={results}")
    built = planned(tmp_path, "gen_trt_engine", parent=str(results))
    assert run(built)["backend"] == "onnxruntime"
    assert built["outputs"]["files"][:2] == [
        f"{results}/gen_trt_engine/detector.engine",
        f"{results}/gen_trt_engine/detector.engine.json",
    ]
    data = (str(scenes / "test"),)
    scored = planned(tmp_path, "deploy_evaluate", parent=str(results), eval_datasets=data)
    assert run(scored)["hmean"] == 1
    images = str(scenes / "test" / "img")
    found = planned(tmp_path, "deploy_inference", parent=str(results), inference_dataset=images)
    assert run(found)["boxes"] == 8
