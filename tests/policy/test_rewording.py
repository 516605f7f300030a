"""No sentence carries data: with every text reworded, plans and follow-ups decide the same."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import results_folders as made
from ocdnet.errors import UserError
from ocdnet.notes import Notes
from ocdnet.policy import parents
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.policy.next import follow_ups
from ocdnet.policy.request import Request
from ocdnet.runs.jobs import run_folders
from plans import build

INT8 = ("gen_trt_engine.tensorrt.data_type=INT8",)


def split(folder: Path) -> str:
    for name in ("img/a.png", "gt/gt_a.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return str(folder)


@pytest.fixture
def data(tmp_path: Path) -> dict[str, str]:
    """What requests name: labelled data, photographs, an archive, and the results of each job."""
    paths = {name: split(tmp_path / name) for name in ("words", "held_back")}
    with tarfile.open(tmp_path / "packed.tar.gz", "w:gz") as bundle:
        bundle.add(paths["words"], "words")
    runs = tmp_path / "runs"
    made.train(runs / "one" / "train")
    made.train(runs / "two" / "train")
    made.train(runs / "both" / "train")
    made.train(runs / "both" / "retrain")
    made.train(runs / "failed" / "train", epochs=9, end="out of memory")
    made.job(runs / "pruned", "prune", "pruned_0.3.pth")
    made.job(runs / "exported", "export", "detector.onnx")
    made.job(runs / "engine", "gen_trt_engine", "detector.engine")
    for spec in runs.glob("**/experiment.yaml"):
        text = spec.read_text().replace("/data/train", paths["words"])
        spec.write_text(text.replace("/data/test", paths["held_back"]))
    return paths | {
        "archive": str(tmp_path / "packed.tar.gz"),
        "absent": str(tmp_path / "absent"),
        **{folder.name: str(folder) for folder in runs.iterdir()},
    }


REQUESTS: list[dict[str, Any]] = [
    {"action": "train", "train_datasets": "{words}", "eval_datasets": "{held_back}"},
    {"action": "train", "automl_policy": "off", "train_datasets": "{words}"},
    {"action": "train", "text": "no HPO", "train_datasets": "{archive}"},
    {"action": "train", "automl_policy": "on", "text": "plain training", "parent": "{one}"},
    {"action": "train"},
    {"action": "train", "train_datasets": "{words}", "overrides": ("train.num_gpus=2",)},
    {"action": "train", "train_datasets": "{words}", "overrides": ("train.num_epochs=1",)},
    {"action": "resume", "parent": "{failed}", "overrides": ("train.num_epochs=20",)},
    {"action": "resume", "parent": "{one}", "overrides": ("train.num_epochs=2",)},
    {"action": "evaluate", "parent": "{one}"},
    {"action": "evaluate", "parent": "{both}"},
    {"action": "evaluate", "parent": "{exported}", "eval_datasets": "{archive}"},
    {"action": "evaluate", "eval_datasets": "{held_back}"},
    {"action": "inference", "parent": "{one}", "eval_datasets": "{held_back}"},
    {"action": "export", "parent": "{one}", "checkpoint": "2", "platform": "slurm"},
    {"action": "prune", "parent": "{one}", "eval_datasets": "{held_back}"},
    {"action": "quantize", "parent": "{one}", "train_datasets": "{words}"},
    {"action": "retrain", "parent": "{pruned}", "train_datasets": "{words}"},
    {"action": "gen_trt_engine", "parent": "{exported}", "overrides": INT8},
    {"action": "gen_trt_engine", "parent": "{exported}", "calibration_datasets": "{words}"},
    {"action": "deploy_evaluate", "parent": "{engine}", "eval_datasets": "{held_back}"},
    {"action": "default_specs", "results_dir": "specs", "platform": "docker"},
    # Refused, each by another rule.
    {"action": "evaluate", "parent": "{pruned}", "checkpoint": "latest"},
    {"action": "evaluate", "eval_datasets": "{absent}"},
    {"action": "train", "overrides": ("dataset.train_dataset.data_path=[a.zip]",)},
    {"action": "train", "train_datasets": "{words}", "overrides": ("train.num_epochs=0",)},
    {"action": "train", "train_datasets": "{words}", "overrides": ("train.nm_epochs=1",)},
    {"action": "evaluate", "overrides": ("evaluate.checkpoint=a", "evaluate.trt_engine=b")},
]


def request(fields: dict[str, Any], data: dict[str, str]) -> Request:
    """A request with its paths filled in."""
    filled = {}
    for name, value in fields.items():
        text = value.format(**data) if isinstance(value, str) else value
        filled[name] = (text,) if name.endswith("datasets") else text
    return Request(**filled)


def decided(fields: dict[str, Any], data: dict[str, str], skill: Skill) -> Any:
    """All of a plan but its sentences, or which error refuses the request."""
    try:
        plan = build(request(fields, data), skill, "ocdnet")
    except UserError as error:
        return type(error), error.code, error.exit_code
    for name in ("why", "warnings"):
        plan[name] = len(plan[name])
    plan["missing"] = [(asked["about"], asked["blocking"]) for asked in plan["missing"]]
    return json.loads(json.dumps(plan).replace(str(skill.root), "SKILL"))


def offered(data: dict[str, str]) -> list[Any]:
    """All of what may follow each job but why."""
    return [
        (item.action, item.takes, item.command, item.needs)
        for name in ("one", "failed", "pruned", "exported", "engine")
        for job in run_folders(Path(data[name]))
        for item in follow_ups(job, Path(data[name]), "ocdnet")
    ]


def reworded(text: str) -> str:
    """Another text for each text, that shares no word with it."""
    return f"Satz {abs(hash(text))}" if text else text


def reword_schemas(root: Path) -> None:
    def walk(node: Any) -> Any:
        if isinstance(node, list):
            return [walk(item) for item in node]
        if not isinstance(node, dict):
            return node
        texts = {
            k: reworded(v)
            for k, v in node.items()
            if k in ("description", "title") and isinstance(v, str)
        }
        return {key: walk(value) for key, value in node.items()} | texts

    for path in (root / "schemas").glob("*.schema.json"):
        path.write_text(json.dumps(walk(json.loads(path.read_text()))))


def reword_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every note, reason and error say something else."""

    def note(method: Callable[..., None]) -> Callable[..., None]:
        return lambda self, text, about="": method(self, reworded(text), about)

    monkeypatch.setattr(Notes, "because", note(Notes.because))
    monkeypatch.setattr(Notes, "warn", note(Notes.warn))
    ask = Notes.ask
    monkeypatch.setattr(
        Notes, "ask", lambda self, about, text, **more: ask(self, about, reworded(text), **more)
    )

    class Choice(parents.Choice):
        def __post_init__(self) -> None:
            object.__setattr__(self, "why", reworded(self.why))

    monkeypatch.setattr(parents, "Choice", Choice)
    begin = UserError.__init__

    def error(self: UserError, code: str, message: str, *rest: Any, **more: Any) -> None:
        begin(self, code, reworded(message), *rest, **more)

    monkeypatch.setattr(UserError, "__init__", error)


def test_rewording_every_text_changes_no_plan(
    tmp_path: Path, data: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = [decided(fields, data, Skill(skill_dir())) for fields in REQUESTS]
    followed = offered(data)
    assert len(followed) > 10
    refused = sum(isinstance(outcome, tuple) for outcome in before)
    assert refused == 5  # and the others are plans
    for name in ("schemas", "references"):
        shutil.copytree(skill_dir() / name, tmp_path / "other" / name)
    reword_schemas(tmp_path / "other")
    reword_program(monkeypatch)
    other = Skill(tmp_path / "other")
    for fields, outcome in zip(REQUESTS, before, strict=True):
        assert decided(fields, data, other) == outcome, fields
    assert offered(data) == followed
