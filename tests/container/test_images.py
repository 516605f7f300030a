"""Each image does its work as a user of no name, with the mounts that the plan printed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocdnet.tree import yaml_io
from processes import free_port

SKILL = Path(__file__).parents[2]
pytestmark = pytest.mark.container


OF_THE_BASE = {"torch", "torchgen", "torchvision", "torchvision.libs", "triton", "nvidia"}
"""Folders of the packages that NVIDIA's PyTorch base brings, and a plain base does not."""


def megabytes_beyond_the_base(root: Path) -> float:
    """All that an image adds to its base is an environment."""
    listed = (root / "opt/ocdnet").rglob("*")
    files = [path for path in listed if path.is_file() and not path.is_symlink()]
    counted = [path for path in files if not OF_THE_BASE.intersection(path.parts)]
    return sum(path.stat().st_size for path in counted) / 1e6


def planned(*words: str | Path) -> str:
    """The `docker run` that `ocdnet plan` prints; its spec is written, its folders are made."""
    program = Path(sys.executable).parent / "ocdnet"
    line = [program, "plan", "--platform", "docker", *words]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    commands = json.loads(done.stdout)["commands"]
    for command in commands:
        if command.startswith("mkdir "):
            subprocess.run(["bash", "-c", command], check=True)
    return commands[-1]


def give(folder: Path) -> None:
    """Hand a folder to the container's user: what `$(id -u)` owns where people run docker."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 1234, 1234)


def strays(root: Path, since: float) -> list[Path]:
    """Files of the container itself, but for /tmp, that were written since."""
    kept = ("tmp", "proc", "sys", "dev", "run", "etc")
    places = [place for place in root.iterdir() if place.name not in kept and place.is_dir()]
    listed = [path for place in places if not place.is_symlink() for path in place.rglob("*")]
    return [path for path in listed if path.is_file() and path.lstat().st_mtime > since]


def did(folder: Path, root: Path, since: float) -> None:
    """Results are the user's own; neither the data nor the image holds anything new."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    assert {(path.stat().st_uid, path.stat().st_gid) for path in files} == {(1234, 1234)}
    assert strays(root, since) == []


def test_deploy_finds_the_texts_of_an_exported_network(
    buildah: Any,
    image: Callable[[str], str],
    detector_onnx: Path,
    scenes: Path,
    tmp_path: Path,
) -> None:
    results = tmp_path / "results"
    data = shutil.copytree(scenes, tmp_path / "scenes") / "test" / "img"
    network = shutil.copy(detector_onnx, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in data.parent.rglob("*")}
    command = planned(
        *("--action", "inference", "--inference-dataset", data, "--results-dir", results),
        *("--set", f"inference.checkpoint={network}", "--write", tmp_path / "plan"),
        *("--set", "inference.width=160", "--set", "inference.height=160"),
    )
    assert "-deploy inference" in command
    give(tmp_path)
    name = image("deploy")
    _, root = buildah.run(name, command)
    assert not list(root.glob("opt/ocdnet/lib/python3*/site-packages/torch"))
    assert 100 < megabytes_beyond_the_base(root) < 700
    texts = list((results / "inference").glob("*.txt"))
    assert len(texts) == 4
    assert all(len(text.read_text().splitlines()) == 2 for text in texts)
    assert {path: path.stat().st_mtime_ns for path in data.parent.rglob("*")} == before
    did(results, root, buildah.started)


def test_deploy_predicts_and_serves(
    buildah: Any,
    image: Callable[[str], str],
    detector_onnx: Path,
    scenes: Path,
    tmp_path: Path,
) -> None:
    network = shutil.copy(detector_onnx, tmp_path / "detector.onnx")
    for beside in detector_onnx.parent.glob("detector.onnx?*"):
        shutil.copy(beside, tmp_path)
    photo = shutil.copy(next((scenes / "test/img").iterdir()), tmp_path)
    give(tmp_path)
    container = buildah("from", image("deploy"))
    began = time.time()
    mount = f"type=bind,source={tmp_path},target={tmp_path},ro"
    run = f"run --isolation chroot --user 1234:1234 --mount {mount} {container} --"
    printed = json.loads(buildah(run, "ocdnet", "predict", photo, "--model", network))
    (page,) = printed["pages"]
    assert len(page["regions"]) == 2
    service = yaml_io.read(SKILL / "runtime/ocdnet/docker/compose.yaml")["services"]["serve"]
    port = str(free_port())
    words = [word.replace("8000", port) for word in service["command"]]
    words[1] = str(network)
    health = [word.replace("8000", port) for word in service["healthcheck"]["test"][1:]]
    line = buildah.line(run, "ocdnet", *words)
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert f"Serving {network}" in server.stderr.readline()
        buildah(run, *health)
        sent = urllib.request.Request(
            f"http://127.0.0.1:{port}/detect", data=Path(photo).read_bytes()
        )
        with urllib.request.urlopen(sent, timeout=60) as answer:
            assert json.load(answer)["regions"] == page["regions"]
        os.kill(serving_at(port), signal.SIGTERM)
        out, errors = server.communicate(timeout=60)
    assert server.returncode == 0, errors
    assert json.loads(out)["requests"] == {"200": 1}
    assert strays(Path(buildah("mount", container)), began) == []


def serving_at(port: str) -> int:
    """Process id of the `ocdnet serve` in the container: no root's, as docker would start it."""
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            owner = entry.stat().st_uid
        except OSError:
            continue
        # Not buildah's own, whose lines hold the same words: with them the server would be killed.
        ours = words[:1] == [b"/opt/ocdnet/bin/python"] and port.encode() in words
        if ours and owner == 1234:
            return int(entry.name)
    raise AssertionError("no server runs as user 1234")


def test_train_trains(
    buildah: Any, image: Callable[[str], str], scenes: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    scenes = shutil.copytree(scenes, tmp_path / "scenes")
    command = planned(
        *("--action", "train", "--automl-policy", "off", "--results-dir", results),
        *("--train-dataset", scenes / "train", "--eval-dataset", scenes / "test"),
        *("--write", tmp_path / "plan", "--set", "train.num_epochs=1"),
        *("--set", "train.lr_scheduler.args.warmup_epoch=0"),
        *("--set", "dataset.train_dataset.args.pre_processes.0.args.size=[64,64]"),
        *("--set", "dataset.train_dataset.loader.batch_size=4"),
    )
    assert "-train train" in command
    give(tmp_path)
    _, root = buildah.run(image("train"), command)
    assert 100 < megabytes_beyond_the_base(root) < 900
    assert (results / "train/model_best.pth").is_file()
    lines = (results / "train/status.json").read_text().splitlines()
    assert json.loads(lines[-1])["status"] == "SUCCESS"
    did(results, root, buildah.started)
