"""What the Tab key offers, asked for as a shell asks: by variables, of a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from ocdnet.catalogue import ACTIONS
from ocdnet.config import explain
from ocdnet.shorthands import TRAIN

_COMMAND = "from ocdnet.cli.main import main; main()"
_LOADED = f"""
import atexit, sys
atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr))
{_COMMAND}
"""


def asked(*words, shell="bash", code=_COMMAND):
    """The answer to words of which the last is still being typed."""
    at = words[-1] if shell == "fish" else str(len(words))
    variables = {"_OCDNET_COMPLETE": f"{shell}_complete", "COMP_CWORD": at}
    variables["COMP_WORDS"] = " ".join(("ocdnet", *words))
    kept = {name: value for name, value in os.environ.items() if name != "OCDNET_PROGRAM"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=kept | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def offered(*words):
    return [line.removeprefix("plain,") for line in asked(*words).stdout.split()]


def test_every_key_of_an_action_and_its_short_names():
    keys = offered("train", "-e", "spec.yaml", "tr")
    of_train = [key for key in explain.keys_of(ACTIONS["train"]) if key.startswith("tr")]
    assert keys == [f"{key}=" for key in of_train]
    everything = offered("train", "-e", "spec.yaml", "")
    assert {f"{name}=" for name in TRAIN} < set(everything)
    assert not [key for key in everything if key.startswith("export.")]


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["train.precision=b"], ["train.precision=bf16"]),  # zsh and fish: one word
        (["train.precision", "=", "b"], ["bf16"]),  # bash: three
        (["train.precision", "="], ["fp32", "fp16", "bf16"]),
        (["train.seed", "=", "1", "train.is_dry_run", "="], ["true", "false"]),
        (["train.seed=1", "train.is_dry_run=t"], ["train.is_dry_run=true"]),
        (["precision=f"], ["precision=fp32", "precision=fp16"]),
        (["train.seed=1"], []),
        (["no.such.key=1"], []),
        (["~train.precis"], ["~train.precision"]),
        (["++train.precis"], ["++train.precision="]),
    ],
)
def test_values_and_signs(words, values):
    assert offered("train", "-e", "spec.yaml", *words) == values


def test_of_a_text_without_choices_files():
    assert offered("export", "-e", "a.yaml", "export.checkpoint", "=", "res") == ["file,res"]


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["spec", "explain", "prune.ch_s"], ["prune.ch_sparsity"]),
        (["spec", "explain", "model.pret"], ["model.pretrained", "model.pretrained_model_path"]),
        (["spec", "list", "retr"], ["retrain"]),
        (["spec", "validate", "prune", "spec.yaml", "prune.ch_s"], ["prune.ch_sparsity="]),
        (["spec", "render", "export", "--set", "export.wid"], ["export.width="]),
        (["plan", "--action", "export", "--set", "export.wid"], ["export.width="]),
        (["automl", "--search", "train.loss.al"], ["train.loss.alpha"]),
        (["plan", "--action", "nonsense", "--set", "e"], []),
    ],
)
def test_other_commands(words, keys):
    assert offered(*words) == keys


def test_explain_takes_sections_too():
    assert {"prune", "prune.checkpoint"} < set(offered("spec", "explain", "prun"))


def test_other_shells_see_what_a_key_does():
    for shell in ("zsh", "fish"):
        text = asked("train", "-e", "spec.yaml", "train.num_ep", shell=shell).stdout
        assert "train.num_epochs=" in text
        assert "Epochs to train." in text


def test_it_is_light():
    done = asked("train", "-e", "spec.yaml", "train.", code=_LOADED)
    assert "train.num_epochs=" in done.stdout
    loaded = set(done.stderr.split())
    assert not loaded & {"pydantic", "numpy", "cv2", "jsonschema", "ocdnet.config", "torch"}


_SESSION = """
PATH={bin}:$PATH
eval "$(_OCDNET_COMPLETE=bash_source ocdnet)"
compopt() {{ echo "compopt $*"; }}
COMP_WORDS=(ocdnet train -e spec.yaml {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
$(complete -p ocdnet | sed 's/.*-F \\([^ ]*\\).*/\\1/') ocdnet
echo "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "reply"),
    [
        ("train.precis", ["compopt -o nospace", "train.precision="]),
        ("train.precision = b", ["bf16"]),
        ("export.checkpoint.", [""]),
    ],
)
def test_in_bash_no_space_comes_between_a_key_and_its_value(words, reply, tmp_path):
    script = tmp_path / "ocdnet"
    script.write_text(f"#!{sys.executable}\n{_COMMAND}\n")
    script.chmod(0o755)
    session = _SESSION.format(bin=tmp_path, words=words)
    done = subprocess.run(
        ["bash", "--norc", "-c", session], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines() == reply
