"""What the tests of the search share: a search over the fake trainer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ocdnet.automl.search import run
from ocdnet.automl.space import space
from ocdnet.automl.study import Search
from ocdnet.config import spec
from ocdnet.policy.artifacts import Skill, skill_dir

FAKE = Path(__file__).with_name("fake_train.py")
COMMAND = (sys.executable, str(FAKE))
LR, DECAY = "train.optimizer.args.lr", "train.optimizer.args.weight_decay"
EPOCHS = 4
COMMAND_LINE = f"""
import sys
from ocdnet.automl import child, search
child.TRAIN = {COMMAND!r}
search.run.__defaults__ = ((), child.TRAIN)
from ocdnet.cli.main import main
main()
"""
"""The real command, but for what trains."""


def schema() -> dict[str, Any]:
    """The packaged schema of train."""
    return Skill(skill_dir()).schema("train")


def tree(out: Path, *overrides: str) -> dict[str, Any]:
    """A complete spec of EPOCHS epochs."""
    given = [
        f"results_dir={out}",
        "dataset.train_dataset.data_path=[/words]",
        "dataset.validate_dataset.data_path=[/words]",
        f"train.num_epochs={EPOCHS}",
        "train.lr_scheduler.args.warmup_epoch=0",
        *overrides,
    ]
    return spec.dump(spec.load("train", None, given))


def search(out: Path, trials: int | None = 4, *overrides: str, **settings: Any) -> Search:
    """A search below a folder, without a pruner unless it is asked for."""
    base = tree(out, *overrides)
    settings = {"metric": "train_loss", "pruner": "none"} | settings
    asked = settings.get("asked", ())
    return Search(
        tree=base,
        folder=out / "automl",
        parameters=space(schema(), base, settings["metric"], asked, settings.get("fixed", ())),
        trials=trials,
        **settings,
    )


def ran(wanted: Search, **more: Any) -> dict[str, Any]:
    """Search with the fake trainer; the content of results.json."""
    run(wanted, command=COMMAND, **more)
    return results(wanted.folder)


def results(folder: Path) -> dict[str, Any]:
    """A search's results.json."""
    return json.loads((folder / "results.json").read_text())


def runs(folder: Path) -> list[dict[str, Any]]:
    """Every start of the fake trainer, with its folder's name, in order of folders."""
    return [
        {"folder": path.parent.name, **json.loads(line)}
        for path in sorted(folder.glob("trial_*/runs.jsonl"))
        for line in path.read_text().splitlines()
    ]


def command(out: Path, *flags: str, **how: Any) -> subprocess.Popen[str]:
    """`ocdnet automl` as a process, its trainer fake; `how` is FAKE_TRAIN."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "spec.yaml").write_text(spec.to_yaml(tree(out)))
    return subprocess.Popen(
        [
            *(sys.executable, "-c", COMMAND_LINE, "automl", "-e", str(out / "spec.yaml")),
            *("--pruner", "none", *flags),
        ],
        env=os.environ | {"FAKE_TRAIN": json.dumps(how)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until(true: Any, process: subprocess.Popen[str] | None = None) -> None:
    """Until something is so, at most a minute, while a process lives."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "nothing happened"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.02)
