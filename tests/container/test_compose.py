"""The compose file says what the plan's commands say."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ocdnet.cli.main import cli
from ocdnet.tree import yaml_io
from ocdnet.version import VERSION

SKILL = Path(__file__).parents[2]


def test_serve_can_write_nothing_and_is_seen_by_this_machine_alone() -> None:
    services = yaml_io.read(SKILL / "runtime/ocdnet/docker/compose.yaml")["services"]
    serve = services["serve"]
    assert serve["image"] == services["deploy"]["image"]
    assert serve["user"] == services["deploy"]["user"]
    assert (serve["read_only"], serve["volumes"][0]["read_only"]) == (True, True)
    port = serve["command"][serve["command"].index("--port") + 1]
    assert serve["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"127.0.0.1:{port}/health" in serve["healthcheck"]["test"][-1]


@pytest.mark.parametrize(("action", "target"), [("train", "train"), ("deploy_inference", "deploy")])
def test_services_agree_with_the_plan(
    action: str, target: str, scenes: Path, tmp_path: Path
) -> None:
    folder = SKILL / "runtime/ocdnet/docker"
    service = yaml_io.read(folder / "compose.yaml")["services"][target]
    (tmp_path / "a.onnx").touch()
    data = ["--train-dataset", scenes / "train"]
    if target == "deploy":
        data = ["--inference-dataset", scenes / "test" / "img"]
    more = [] if target == "train" else ["--set", f"inference.checkpoint={tmp_path}/a.onnx"]
    line = [Path(sys.executable).parent / "ocdnet", "plan", "--platform", "docker", *data, *more]
    line += ["--action", action.removeprefix("deploy_"), "--automl-policy", "off"]
    line += ["--results-dir", tmp_path / "r", "--write", tmp_path / "plan"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    commands = [shlex.split(command) for command in json.loads(done.stdout)["commands"]]
    build = next(words for words in commands if words[:2] == ["docker", "build"])
    run = commands[-1]
    place = service["build"]
    assert build[build.index("--target") + 1] == place["target"] == target
    assert (folder / place["context"]).resolve() == Path(build[-1])
    assert SKILL / place["dockerfile"] == Path(build[build.index("-f") + 1])
    assert service["image"] == build[build.index("-t") + 1] == f"ocdnet:{VERSION}-{target}"
    assert f"--shm-size={service['shm_size']}" in run
    assert f"HOME={service['environment']['HOME']}" in run
    assert service["init"] is ("--init" in run) is True
    assert service["gpus"] == "all"  # as the plan says where there is one
    assert "OCDNET_USER" in service["user"]
    mount = service["volumes"][0]
    assert mount["type"] == "bind"
    assert mount["source"].startswith("${OCDNET_DATA")
    assert mount["target"] == "${OCDNET_DATA}"


def test_the_server_is_checked_where_it_listens() -> None:
    service = yaml_io.read(SKILL / "runtime/ocdnet/docker/compose.yaml")["services"]["serve"]
    name, *words = service["command"]
    with cli.commands[name].make_context(name, words) as context:
        given = context.params
    assert service["image"] == f"ocdnet:{VERSION}-deploy"
    assert service["ports"] == [f"127.0.0.1:{given['port']}:{given['port']}"]
    assert given["host"] == "0.0.0.0"
    assert f"http://127.0.0.1:{given['port']}/health" in service["healthcheck"]["test"][-1]
