"""The command line's contract: JSON on stdout, one line on stderr, the documented exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import support
from ocdnet.cli.main import main

HEAVY = ("torch", "torchvision", "pytorch_lightning", "onnx", "onnxruntime", "matplotlib", "PIL")


@pytest.fixture
def ocdnet(monkeypatch, capsys):
    """Run the command in this process: exit code, stdout, stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ocdnet", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return caught.value.code, out, err

    return run


@pytest.fixture
def spec_file(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text("results_dir: results\n")
    return path


def error_of(result):
    """The error of a failed command, after checking its form."""
    code, out, err = result
    (error,) = json.loads(out).values()
    assert list(error) == ["code", "message", "got", "expected", "hint"]
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert error["message"].rstrip(".?") in err
    return code, error


@pytest.mark.parametrize(
    ("arguments", "code", "slug", "said"),
    [
        (["trian"], 2, "usage", "Did you mean 'train'?"),
        (["train"], 2, "usage", "--experiment_spec_file"),
        (["train", "-e", "{spec}", "--nope"], 2, "usage", "--nope"),
        (["default_specs"], 2, "missing-results-dir", "folder"),
        (["data", "synth", "--out", "x", "--size", "big"], 2, "bad-size", "--size"),
        (["train", "-e", "absent.yaml"], 3, "bad-yaml", "absent.yaml"),
        (["train", "-e", "{spec}", "train.num_epoch=1"], 3, "unknown-key", "train.num_epoch"),
        (["train", "-e", "{spec}", "train.seed"], 3, "bad-override", "train.seed"),
        (["train", "-e", "{spec}"], 3, "missing-value", "dataset.train_dataset.data_path"),
        (
            ["train", "-e", "{spec}", "dataset.train_dataset.data_path=[a.zip]"],
            4,
            "archive-as-path",
            "is an archive",
        ),
    ],
)
def test_errors(ocdnet, spec_file, arguments, code, slug, said):
    given = [str(argument).replace("{spec}", str(spec_file)) for argument in arguments]
    found, error = error_of(ocdnet(*given))
    assert (found, error["code"]) == (code, slug)
    assert said in error["message"]


def test_an_override_typo_says_what_was_meant(ocdnet, spec_file):
    _, error = error_of(ocdnet("train", "-e", spec_file, "train.num_epoch=1"))
    assert "train.num_epochs" in error["hint"]


def test_an_error_in_the_yaml_names_the_line(ocdnet, spec_file):
    spec_file.write_text("train:\n  num_epochs: 3\n  seed: [1\n")
    _, error = error_of(ocdnet("train", "-e", spec_file))
    assert f"{spec_file}, line" in error["message"]


def test_an_error_of_the_run(ocdnet, spec_file, tmp_path):
    arguments = [
        f"results_dir={tmp_path}",
        f"evaluate.checkpoint={tmp_path}/absent.pth",
        f"dataset.validate_dataset.data_path=[{tmp_path}/nowhere]",
    ]
    code, error = error_of(ocdnet("evaluate", "-e", spec_file, *arguments))
    assert code == 4
    assert "nowhere" in error["message"]
    assert support.status_lines(tmp_path / "evaluate")[-1]["status"] == "FAILURE"


def test_a_bug_ends_in_json_too(ocdnet, monkeypatch, tmp_path):
    from ocdnet.actions import default_specs

    def broken(_):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(default_specs, "run", broken)
    code, out, err = ocdnet("default_specs", f"results_dir={tmp_path}")
    assert code == 1
    assert json.loads(out)["error"]["message"] == "ZeroDivisionError: oh"
    assert "Traceback" in err


def test_an_interrupt(ocdnet, monkeypatch, tmp_path):
    from ocdnet.actions import default_specs

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(default_specs, "run", interrupted)
    code, document, err = ocdnet("default_specs", f"results_dir={tmp_path}")
    assert code == 130
    assert json.loads(document)["error"]["code"] == "interrupted"
    assert "Interrupted" in err
    assert "Traceback" not in err


def test_only_rank_0_prints(ocdnet, monkeypatch, tmp_path):
    monkeypatch.setenv("RANK", "1")
    assert ocdnet("default_specs", f"results_dir={tmp_path}")[:2] == (0, "")
    monkeypatch.setenv("RANK", "0")
    assert json.loads(ocdnet("default_specs", f"results_dir={tmp_path}")[1])


@pytest.mark.usefixtures("small_network")
def test_an_action_prints_its_result(ocdnet, spec_file, scenes, tmp_path):
    overrides = support.train_overrides(scenes, tmp_path, "train.num_epochs=1")
    code, out, _ = ocdnet("train", "-e", spec_file, *overrides)
    assert code == 0
    assert json.loads(out) == json.loads((tmp_path / "train" / "results.json").read_text())


@pytest.mark.parametrize("action", ["train", "evaluate", "inference", "export"])
def test_help_shows_an_example(ocdnet, action):
    code, out, _ = ocdnet(action, "--help")
    assert code == 0
    assert f"Example: ocdnet {action} -e spec.yaml" in out


def test_help_lists_the_exit_codes(ocdnet):
    code, out, _ = ocdnet("--help")
    assert code == 0
    for meaning in ("0 done", "3 invalid spec", "6 failed while running", "130 interrupted"):
        assert meaning in out


_IMPORTED = """
import contextlib, io, sys
from ocdnet.cli.main import cli
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    cli(sys.argv[1:])
print(*sorted(sys.modules))
"""


def imported_by(*arguments):
    """Top-level modules that a fresh process has after the command."""
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTED, *arguments],
        env=os.environ | {"PYTHONPATH": str(Path(support.__file__).parents[1] / "runtime")},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"]])
def test_help_is_light(arguments):
    assert not imported_by(*arguments) & {*HEAVY, "pydantic", "numpy", "cv2", "jsonschema"}


def test_what_only_reads_a_spec_is_light(spec_file, tmp_path):
    path = "dataset.train_dataset.data_path=[x]"
    validated = imported_by("spec", "validate", "train", str(spec_file), path)
    assert "pydantic" in validated  # it did its work
    assert not validated & set(HEAVY)
    written = imported_by("default_specs", f"results_dir={tmp_path}/specs")
    assert (tmp_path / "specs" / "experiment.yaml").exists()
    assert not written & set(HEAVY)
