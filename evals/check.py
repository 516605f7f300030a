"""Checks the deterministic part of evals.json: the plan that `ocdnet plan` makes of each request.

An eval's `question` is what the user says, its `request` what an agent is to make of it: the
action, the words that it hands on, paths and numbers. `expected_behavior` is for a judge of the
agent, `plan` for this script. The form is that of NVIDIA's validator of skills.

Real folders are made in a temporary place: labelled split folders, an archive of one, images, and
the results of finished jobs. Their names stand in evals.json as {train}, {test}, {set} (which holds
both), {archive}, {images}, {run}, {blind} (a run that found nothing), {exported}, {pruned},
{engine} and {new} (a place to write to).
"""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

EVALS = Path(__file__).resolve().parent / "evals.json"
LAUNCHER = EVALS.parents[1] / "scripts" / "ocdnet.py"
Planner = Callable[[Mapping[str, Any]], Mapping[str, Any]]

_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
_STEMS = ("a", "b")
_EPOCHS = 4
_STATUS = {"date": "06/01/2026", "time": "10:00:00", "verbosity": "INFO", "status": "SUCCESS"}


def make_places(root: Path) -> dict[str, str]:
    """Make the folders and files that requests name; their paths by placeholder."""
    train, test = _split(root / "train"), _split(root / "test")
    archive = root / "words.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(train, "words")
    run = _job(
        root / "run" / "train",
        "train",
        {"dataset": {"train_dataset": {"data_path": [str(train)]}}, "train": {"num_epochs": 4}},
        "model_best.pth",
        *(f"model_epoch_{epoch:03d}_step_{epoch + 1:05d}.pth" for epoch in range(_EPOCHS)),
    )
    (run / "ocd_model_latest.pth").symlink_to(f"model_epoch_003_step_{_EPOCHS:05d}.pth")
    result = {
        "schema_version": 1,
        "action": "train",
        "results_dir": str(run),
        "epochs": _EPOCHS,
        "best_epoch": 2,
        "best_metric": {"name": "hmean", "value": 0.8},
        "best_checkpoint": str(run / "model_best.pth"),
        "checkpoints": [],
        "last_metrics": {"hmean": 0.7},
    }
    (run / "results.json").write_text(json.dumps(result))
    blind = _job(
        root / "blind" / "train",
        "train",
        {"train": {"num_epochs": 4}},
        "model_best.pth",
        "model_epoch_003_step_00004.pth",
    )
    nothing = {"best_metric": {"name": "hmean", "value": 0.0}, "last_metrics": {"hmean": 0.0}}
    (blind / "results.json").write_text(json.dumps(result | nothing | {"results_dir": str(blind)}))
    for part in ("train", "test"):
        _split(root / "set" / part)
    exported = _job(root / "exported" / "export", "export", {}, "detector.onnx")
    pruned = _job(root / "pruned" / "prune", "prune", {}, "pruned_0.3.pth")
    engine = _job(root / "engine" / "gen_trt_engine", "gen_trt_engine", {}, "detector.engine")
    jobs = {"run": run, "blind": blind, "exported": exported, "pruned": pruned, "engine": engine}
    return {
        "train": str(train),
        "test": str(test),
        "archive": str(archive),
        "images": str(test / "img"),
        "set": str(root / "set"),
        "new": str(root / "new"),
        **{name: str(folder.parent) for name, folder in jobs.items()},
    }


def _split(folder: Path) -> Path:
    """A split folder with two labelled images."""
    for name in ("img", "gt"):
        (folder / name).mkdir(parents=True)
    for stem in _STEMS:
        (folder / "img" / f"{stem}.png").write_bytes(_PNG)
        (folder / "gt" / f"gt_{stem}.txt").write_text("0,0,1,0,1,1,0,1,word\n")
    return folder


def _job(folder: Path, action: str, spec: Mapping[str, Any], *files: str) -> Path:
    """A finished job's folder; the content of its models does not matter to a plan."""
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_bytes(b"a model")
    (folder / "experiment.yaml").write_text(json.dumps(spec))
    lines = [
        {**_STATUS, "status": "STARTED", "message": f"Starting OCDNet {action}."},
        {**_STATUS, "message": f"{action} finished."},
    ]
    (folder / "status.json").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


def filled(value: Any, places: Mapping[str, str]) -> Any:
    """A JSON value with its placeholders replaced."""
    if isinstance(value, str):
        for name, path in places.items():
            value = value.replace(f"{{{name}}}", path)
        return value
    if isinstance(value, list):
        return [filled(item, places) for item in value]
    if isinstance(value, dict):
        return {key: filled(item, places) for key, item in value.items()}
    return value


def differences(plan: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What of a plan is not as wanted, a line each.

    Args:
        plan: what `ocdnet plan` printed.
        wanted: JSON pointer to a value, or to one of `{"contains": text}` (in the value's JSON),
            `{"lacks": text}`, `{"absent": true}`.
    """
    found = []
    for pointer, value in wanted.items():
        there, got = _at(plan, pointer)
        if not _is_as(value, there, got):
            shown = json.dumps(got, ensure_ascii=False) if there else "nothing"
            found.append(f"{pointer}: wanted {json.dumps(value)}, got {shown[:300]}")
    return found


def _is_as(wanted: Any, there: bool, got: Any) -> bool:
    if wanted == {"absent": True}:
        return not there
    text = json.dumps(got, ensure_ascii=False)
    if isinstance(wanted, dict) and wanted.keys() == {"contains"}:
        return there and wanted["contains"] in text
    if isinstance(wanted, dict) and wanted.keys() == {"lacks"}:
        return there and wanted["lacks"] not in text
    return there and bool(got == wanted)


def _at(document: Any, pointer: str) -> tuple[bool, Any]:
    """Whether a JSON pointer leads to something, and to what."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict) and name in document:
            document = document[name]
        elif isinstance(document, list) and name.isdecimal() and int(name) < len(document):
            document = document[int(name)]
        else:
            return False, None
    return True, document


def check(one: Mapping[str, Any], places: Mapping[str, str], planner: Planner) -> list[str]:
    """What of an eval's plan is not as it asserts, a line each."""
    return differences(planner(filled(one["request"], places)), filled(one["plan"], places))


def run_plan(request: Mapping[str, Any], command: Sequence[str], folder: Path) -> dict[str, Any]:
    """What `ocdnet plan` prints of a JSON request, an error included."""
    done = subprocess.run(  # noqa: S603 - our own command
        command, input=json.dumps(request), capture_output=True, text=True, cwd=folder, check=False
    )
    try:
        return dict(json.loads(done.stdout))
    except ValueError:
        return {"error": {"code": "no-json", "exit": done.returncode, "stderr": done.stderr}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the evals that have a plan; 1 where one is not as asserted."""
    parser = argparse.ArgumentParser(
        description="Check the plans that `ocdnet plan` makes of the requests in evals.json.",
        epilog="Example: python evals/check.py --only 1 4. Exit codes: 0 all as asserted, 1 not.",
    )
    parser.add_argument("--only", type=int, nargs="+", metavar="ID", help="Check these evals only.")
    only = parser.parse_args(arguments).only
    evals = json.loads(EVALS.read_text(encoding="utf-8"))
    chosen = [e for e in evals if "plan" in e and (only is None or e["id"] in only)]
    command = [sys.executable, str(LAUNCHER), "plan"]
    failed = 0
    with tempfile.TemporaryDirectory(prefix="ocdnet-evals-") as name:
        folder = Path(name)
        places = make_places(folder)
        for one in chosen:
            wrong = check(one, places, lambda request: run_plan(request, command, folder))
            failed += bool(wrong)
            _say(f"{'FAIL' if wrong else 'ok  '} {one['id']:2} {one['question'][:80]}")
            for line in wrong:
                _say(f"        {line}")
    _say(f"{len(chosen) - failed} of {len(chosen)} plans as asserted")
    return 1 if failed or not chosen else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
