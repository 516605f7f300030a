"""The command that `plan` and `train` print for labels of other tools, run as it is printed."""

import json
import re
import shlex

import pytest
from click.testing import CliRunner

import support
from ocdnet.cli.main import cli
from ocdnet.data.annotations import index_dataset
from ocdnet.errors import UserError


def run(*arguments):
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    return done.exception if isinstance(done.exception, UserError) else json.loads(done.stdout)


@pytest.mark.parametrize("to", ["coco", "paddleocr", "labelme in gt"])
@pytest.mark.parametrize("action", ["plan", "train"])
def test_the_hint_is_a_command_that_makes_a_data_path(scenes, tmp_path, monkeypatch, to, action):
    monkeypatch.chdir(tmp_path)
    if to == "labelme in gt":
        given = support.copied(scenes, tmp_path / "my set") / "test"
        for label in (given / "gt").iterdir():
            label.unlink()
        for image in (given / "img").iterdir():
            shape = {"label": "x", "points": [[1, 1], [9, 1], [9, 5]]}
            document = {"shapes": [shape], "imagePath": image.name}
            (given / "gt" / f"{image.stem}.json").write_text(json.dumps(document))
    else:
        given = run("data", "convert", scenes / "test", "--to", to, "--out", "a set")["data"][0]
    if action == "plan":
        told = run("plan", "--action", "train", "--train-dataset", given, "--eval-dataset", given)
        text = told.hint if isinstance(told, UserError) else json.dumps(told)
    else:
        (tmp_path / "spec.yaml").write_text(
            f"dataset: {{train_dataset: {{data_path: ['{given}']}}}}"
        )
        text = run("train", "-e", "spec.yaml", "results_dir=r").hint
    command = re.search(r"`ocdnet (data convert [^`]*)`", text)[1]
    made = run(*shlex.split(command))
    assert made["images"] == 4
    assert len(index_dataset(made["data"], ["###"])) == 4
