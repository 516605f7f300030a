"""evals.json: its form, and the plans that are made of its requests."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from ocdnet.errors import UserError
from ocdnet.launch.platforms import PLATFORMS
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.policy.request import ACTIONS, from_json
from ocdnet.policy.words import read
from plans import build

FOLDER = Path(__file__).resolve().parents[2] / "evals"
EVALS = json.loads((FOLDER / "evals.json").read_text(encoding="utf-8"))
SKILL = "tao-train-ocdnet"
PLANNED = [one for one in EVALS if "plan" in one]
NEAR_MISSES = [one for one in EVALS if "plan" not in one]


def _runner():
    location = importlib.util.spec_from_file_location("evals_check", FOLDER / "check.py")
    module = importlib.util.module_from_spec(location)
    location.loader.exec_module(module)
    return module


check = _runner()


def plan(request):
    """The plan of a JSON request, made in this process, or its error."""
    try:
        return build(from_json(json.dumps(request)), Skill(skill_dir()), "ocdnet")
    except UserError as error:
        return {"error": error.to_dict()}


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return check.make_places(tmp_path)


class TestForm:
    def test_it_is_the_form_that_nvidias_validator_reads(self):
        assert isinstance(EVALS, list)
        assert [one["id"] for one in EVALS] == list(range(1, len(EVALS) + 1))
        for one in EVALS:
            assert {"id", "question", "expected_skill", "ground_truth"} <= one.keys()
            assert all(isinstance(one[key], str) for key in ("question", "ground_truth"))
            assert one["question"]
            assert one["ground_truth"]
            assert one["expected_behavior"]
            assert all(isinstance(line, str) for line in one["expected_behavior"])
        assert len({one["question"] for one in EVALS}) == len(EVALS)

    def test_many_are_near_misses(self):
        assert len(EVALS) >= 24
        assert len(NEAR_MISSES) >= 0.25 * len(EVALS)
        assert {one["expected_skill"] for one in PLANNED} == {SKILL}
        for one in NEAR_MISSES:
            assert one["expected_skill"] != SKILL
            assert "request" not in one

    def test_the_requests_cover_actions_and_platforms(self):
        wanted = [one["plan"]["/action"] for one in PLANNED]
        assert set(ACTIONS) - set(wanted) <= {"deploy_inference"}
        platforms = {one["request"].get("platform", "local") for one in PLANNED}
        assert platforms == set(PLATFORMS)

    def test_placeholders_are_known(self, places):
        used = set(re.findall(r"\{(\w+)\}", " ".join(one["question"] for one in EVALS)))
        assert used <= places.keys()
        text = json.dumps([check.filled(one, places) for one in EVALS])
        assert not re.search(r"\{\w+\}", text)


@pytest.mark.parametrize("one", PLANNED, ids=lambda one: one["id"])
def test_the_plan_is_as_asserted(one, places):
    assert check.check(one, places, plan) == []


@pytest.mark.parametrize("one", PLANNED, ids=lambda one: one["id"])
def test_whoever_hands_on_the_whole_prompt_gets_the_same_plan(one, places):
    whole = {**one, "request": {**one["request"], "request": one["question"]}}
    if "automl_policy" not in one["request"]:  # of which the prompts tell, too
        assert check.check(whole, places, plan) == []


@pytest.mark.parametrize("one", PLANNED, ids=lambda one: one["id"])
def test_it_is_the_agent_that_gives_the_action(one, places):
    assert one["request"]["action"] == one["plan"]["/action"]
    silent = {key: value for key, value in one["request"].items() if key != "action"}
    error = plan(check.filled({**silent, "request": one["question"]}, places))["error"]
    assert error["code"] == "no-action"
    assert any(line.startswith(f"{one['plan']['/action']}: ") for line in error["expected"])


@pytest.mark.parametrize("one", NEAR_MISSES, ids=lambda one: one["id"])
def test_who_asks_to_read_is_sent_to_ocrnet(one):
    to_read = any("does not read" in line for line in one["expected_behavior"])
    assert read(one["question"]).reads_text >= to_read
    assert ("OCRNet reads" in plan({"request": one["question"]})["error"]["message"]) >= to_read


class TestRunner:
    def test_it_runs_the_command_and_tells_each_eval(self, capsys):
        assert check.main(["--only", "1", "8"]) == 0
        assert [line[:4] for line in capsys.readouterr().out.splitlines()] == [
            "ok  ",
            "ok  ",
            "2 of",
        ]

    def test_it_fails_where_a_plan_is_not_as_asserted(self, tmp_path, monkeypatch, capsys):
        spoiled = [{**EVALS[0], "plan": {"/action": "prune", "/error": {"absent": True}}}]
        (tmp_path / "evals.json").write_text(json.dumps(spoiled))
        monkeypatch.setattr(check, "EVALS", tmp_path / "evals.json")
        assert check.main([]) == 1
        told = capsys.readouterr().out
        assert '/action: wanted "prune", got "train"' in told
        assert "/error" not in told

    def test_an_id_that_is_not_there_is_no_success(self, capsys):
        assert check.main(["--only", "9999"]) == 1

    def test_pointers(self):
        told = {"a": [{"b/c": "x y"}], "n": None}
        good = {"/a/0/b~1c": "x y", "/n": None, "/m": {"absent": True}, "/a": {"contains": "x y"}}
        assert check.differences(told, {**good, "/a/0": {"lacks": "z"}}) == []
        bad = {"/a/1": None, "/n": {"absent": True}, "/m": {"lacks": "z"}, "/a": {"contains": "z"}}
        assert len(check.differences(told, bad)) == 4
