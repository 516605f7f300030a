"""`--help` of every command: whole summaries and words, headings, an action's keys, no paths."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import click
import pytest

from ocdnet.catalogue import ACTIONS
from ocdnet.cli.help import HEADINGS, Group
from ocdnet.cli.main import cli
from ocdnet.config import explain


def commands(command=cli, path="ocdnet"):
    """Every command and subcommand, with the words that call it."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{path} {name}")


EVERY = dict(commands())
EACH = pytest.mark.parametrize("path", EVERY)


def shown(path, monkeypatch, columns=80):
    monkeypatch.setenv("COLUMNS", str(columns))
    command = EVERY[path]
    return command.get_help(click.Context(command, info_name=path, **command.context_settings))


@EACH
@pytest.mark.parametrize("columns", [60, 80, 120])
def test_no_word_of_the_usage_is_broken(path, columns, monkeypatch):
    command = EVERY[path]
    usage, _, rest = shown(path, monkeypatch, columns).partition("\n\n")
    pieces = command.collect_usage_pieces(click.Context(command, info_name=path))
    assert usage.split() == ["Usage:", *path.split(), *" ".join(pieces).split()]
    seen = [option for option in command.params if not getattr(option, "hidden", False)]
    options = [name for option in seen for name in option.opts if name[0] == "-"]
    assert [name for name in options if name not in rest] == []


@EACH
def test_no_line_is_broken_by_a_terminal_of_80_columns(path, monkeypatch):
    assert [line for line in shown(path, monkeypatch).splitlines() if len(line) > 80] == []


@EACH
def test_no_file_is_named_that_only_the_repository_has(path, monkeypatch):
    pattern = r"references/|schemas/|skill_info|\.schema\.json|docs/|\.md\b"
    assert not re.search(pattern, shown(path, monkeypatch, 120))


@pytest.mark.parametrize("path", [path for path, c in EVERY.items() if hasattr(c, "commands")])
@pytest.mark.parametrize("columns", [60, 120])
def test_summaries_are_whole(path, columns, monkeypatch):
    text = " ".join(shown(path, monkeypatch, columns).split())
    assert "..." not in text.partition("Options:")[2].partition("Examples:")[0]
    for name, child in EVERY[path].commands.items():
        said = " ".join((child.short_help or child.help).split("\n\n")[0].split())
        assert f" {name} {said.split('. ')[0].rstrip('.')}" in text


def test_commands_stand_in_the_order_of_work(monkeypatch):
    text = shown("ocdnet", monkeypatch)
    order = ["predict", "train", "evaluate", "export", "inference", "plan", "automl", "status"]
    order += ["next", "report", "spec", "data", "weights", "serve", "doctor", "demo"]
    there = [name for name in order if name in cli.commands]
    assert re.findall(rf"^  ({'|'.join(order)}) ", text, re.MULTILINE) == there
    assert set(cli.commands) <= {name for names in HEADINGS.values() for name in names}
    for heading in HEADINGS:
        assert f"\n{heading}:\n" in text


def test_a_command_that_no_heading_names_comes_last():
    group = Group("x", commands=[click.Command(n, help="Do it.") for n in ("other", "train", "a")])
    text = group.get_help(click.Context(group, info_name="x"))
    assert re.findall(r"^(?:  )?([\w, ]+?)(?::| +Do it.)$", text, re.MULTILINE)[1:] == [
        "Find text, train and deploy",
        "train",
        "More",
        "a",
        "other",
    ]


@pytest.mark.parametrize("name", [name for name in ACTIONS if name in cli.commands])
def test_an_action_names_five_keys_with_the_defaults_of_its_spec(name, monkeypatch):
    text = " ".join(shown(f"ocdnet {name}", monkeypatch, 60).split())
    rows = cli.commands[name].often_set()
    assert len(rows) == 5
    nodes = explain.keys_of(ACTIONS[name])
    for key, about in rows:
        assert f"{key} {about}".replace("  ", " ") in text
        default = nodes[key]["default"]
        said = re.search(r"\[(required|default: ([^;\]]+))", about)
        if said[2] is None:
            assert key in ACTIONS[name].required or default == "???"
        else:
            assert said[2] == ("empty" if default in ("", []) else json.dumps(default))


def test_the_short_names_of_keys_are_told(monkeypatch):
    assert "short: epochs]" in " ".join(shown("ocdnet train", monkeypatch).split())
    assert "short: data_type]" in " ".join(shown("ocdnet gen_trt_engine", monkeypatch).split())


def test_an_installation_without_schemas_still_helps(monkeypatch, tmp_path):
    from ocdnet.policy import artifacts

    monkeypatch.setattr(artifacts, "skill_dir", lambda: tmp_path)
    assert "Example: ocdnet train" in shown("ocdnet train", monkeypatch)


def as_module(*arguments, **variables):
    return subprocess.run(
        [sys.executable, "-m", "ocdnet", *arguments],
        env={k: v for k, v in os.environ.items() if k != "OCDNET_PROGRAM"} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_python_m_ocdnet_is_ocdnet_by_another_name(tmp_path):
    done = as_module("spec", "--help")
    called = done.stdout.split(" spec ")[0].removeprefix("Usage: ")
    assert called.endswith("-m ocdnet")
    again = subprocess.run(f"{called} --version", shell=True, capture_output=True, check=True)
    assert again.stdout == as_module("--version").stdout.encode()
    assert as_module("trian").returncode == 2
    assert "Usage: mine spec" in as_module("spec", "--help", OCDNET_PROGRAM="mine").stdout
