"""SKILL.md: its frontmatter, its size, its sections; every command in it runs, every link leads."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import bpe_openai
import cv2
import numpy as np
import pytest

from ocdnet.catalogue import ACTIONS

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "SKILL.md").read_text(encoding="utf-8")
FRONT, BODY = TEXT.split("---\n", 2)[1:]
OCDNET = 'uv run --script "<skill-dir>/scripts/ocdnet.py"'
TOKENS = bpe_openai.get_encoding("o200k_base")


def field(name):
    return re.search(rf"^\s*{name}: (.*)$", FRONT, re.MULTILINE)[1].strip('"')


def blocks():
    """The lines of the fenced shell blocks."""
    return [
        line
        for block in re.findall(r"```sh\n(.*?)```", BODY, re.DOTALL)
        for line in block.splitlines()
    ]


def inline():
    """The commands in the running text, without their placeholders' meaning."""
    found = re.findall(r"`((?:ocdnet )?(?:plan|spec|status|next|doctor|data check) [^`]*)`", BODY)
    return [command.removeprefix("ocdnet ") for command in found]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A user's project: data, and the results of a finished run."""
    folder = tmp_path_factory.mktemp("project")
    for split in ("words/train", "words/test"):
        for name in ("img/a.png", "gt/gt_a.txt"):
            (folder / split / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / split / name).touch()
        cv2.imwrite(str(folder / split / "img/a.png"), np.zeros((64, 64, 3), np.uint8))
    (folder / "photos").mkdir()
    (folder / "photos/a.png").touch()
    for root in ("results", "RESULTS_DIR"):
        run = folder / root / "train"
        run.mkdir(parents=True)
        (run / "model_best.pth").touch()
        line = {"date": "11/22/2026", "time": "10:00:00", "status": "SUCCESS", "message": "done"}
        (run / "status.json").write_text(json.dumps(line) + "\n")
    (folder / "FILE").write_text("dataset: {train_dataset: {data_path: [words/train]}}\n")
    return folder


def run(command, project):
    words = shlex.split(command)
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts/ocdnet.py"), *words],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )


def test_the_frontmatter_says_when_to_use_it():
    description = field("description")
    assert len(description) <= 1024
    early = description[:200]
    for words in ("scene text detection", "train OCDNet", "arbitrary-oriented text boxes"):
        assert words in early
    assert "differentiable binarization detector" in early
    assert "Not for" in description
    assert field("name") == "tao-train-ocdnet"
    assert field("license") == "Apache-2.0"
    assert re.fullmatch(r"[^<]+ <\S+@\S+>", field("author"))


def test_it_has_its_sections_in_a_bounded_size():
    for name in (
        "Purpose",
        "Prerequisites",
        "Instructions",
        "Available Scripts",
        "Examples",
        "Limitations",
        "Troubleshooting",
    ):
        assert f"\n## {name}\n" in BODY
    assert len(TEXT.splitlines()) <= 200
    assert len(TOKENS.encode(TEXT)) <= 1500


def test_every_command_in_a_block_runs(project):
    lines = blocks()
    assert len(lines) >= 2
    for line in lines:
        assert line.startswith(OCDNET)
        done = run(line.removeprefix(OCDNET), project)
        assert done.returncode == 0, (line, done.stdout)


def test_every_command_in_the_text_runs(project):
    commands = inline()
    assert len(commands) >= 6
    for command in commands:
        filled = command.replace("ACTION", "train").replace("KEY...", "model.backbone")
        filled = filled.replace("FOLDER", "words/train")
        done = run(filled, project)
        assert done.returncode == 0, (command, done.stdout)


def test_every_flag_in_the_text_exists(project):
    commands = ("plan", "status", "predict", "tune", "optimize")
    known = "".join(run(f"{command} --help", project).stdout for command in commands)
    flags = set(re.findall(r"`[^`]*?(--[a-z][a-z-]+)", BODY)) - {"--help", "--script"}
    assert len(flags) >= 4
    assert [flag for flag in flags if flag not in known] == []


def test_every_page_it_names_is_there():
    pages = re.findall(r"[\w-]+\.md", BODY.partition("## Troubleshooting")[2])
    assert len(pages) >= 5
    assert [page for page in pages if not (ROOT / "references" / page).is_file()] == []


def test_its_data_table_is_the_generated_one():
    """Rows may join actions; cell by cell they say what skill_info says."""
    rows = re.findall(
        r"^\| ([a-z_, ()A-Z0-9]+) \| ([\w.]+) \| ([\w ]+) \| [^|]+ \| (Yes|No) \|$", BODY, re.M
    )
    told = {
        (action.removesuffix(" (INT8)"), key, source, listed)
        for actions, key, source, listed in rows
        for action in actions.split(", ")
    }
    due = {
        (
            name,
            item.key,
            " or ".join(source.name for source in item.sources),
            "Yes" if item.many else "No",
        )
        for name, entry in ACTIONS.items()
        if not name.startswith("deploy_")
        for item in entry.data
    }
    assert told == due
    assert "| Action | Spec Key | Source | Files | List? |" in BODY
    assert "**Monitoring metric:** hmean" in BODY


def test_what_an_agent_reads_for_a_train_request_fits_the_budget(project):
    """SKILL.md, the plan, the popular keys, three explanations, the validation: 3,000 tokens."""
    shutil.rmtree(project / "budget", ignore_errors=True)
    flags = "--train-dataset words/train --eval-dataset words/test --set train.num_epochs=30"
    explained = "train.num_epochs train.optimizer.args.lr dataset.train_dataset.loader.batch_size"
    for policy in ("on", "off"):
        read = [
            f"plan --action train --request 'train OCDNet on my signs' {flags}"
            f" --automl-policy {policy} --write budget/{policy}",
            "spec list train --popular",
            f"spec explain {explained}",
            f"spec validate train budget/{policy}/train.yaml",
        ]
        answers = []
        for command in read:
            done = run(command, project)
            assert done.returncode == 0, done.stdout
            answers.append(done.stdout)
        sizes = [len(TOKENS.encode(text)) for text in (TEXT, *answers)]
        assert sum(sizes) <= 3000, sizes
