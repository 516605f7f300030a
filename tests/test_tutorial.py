"""docs/tutorial.md: the blocks of the page itself, run in order on a folder of labelme files."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import processes
import support
from ocdnet.actions import optimize_trial
from ocdnet.cli.main import main
from ocdnet.data.scenes.scene import render_scene
from ocdnet.data.scenes.style import EASY

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
SIDE = 320
PORTS = ("8080", "8000")
pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the page needs curl")


def write_photos(folder, images, seed=0):
    """As labelme leaves them: a picture and its JSON; the last one is cut in half."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    style = replace(EASY, size=(SIDE, SIDE), words=(2, 5), height=(18, 32))
    for number in range(images):
        scene = render_scene(style, rng)
        name = f"photo_{number:02}"
        cv2.imwrite(str(folder / f"{name}.jpg"), scene.image)
        shapes = [
            {
                "label": "ignore" if ignored else "text",
                "description": text,
                "points": quad.round(1).tolist(),
                "shape_type": "polygon",
            }
            for quad, text, ignored in zip(scene.polygons, scene.texts, scene.ignore, strict=True)
        ]
        size = {"imageHeight": SIDE, "imageWidth": SIDE}
        labels = {"shapes": shapes, "imagePath": f"{name}.jpg", "imageData": None, **size}
        (folder / f"{name}.json").write_text(json.dumps(labels))
    last = folder / f"photo_{images - 1:02}.jpg"
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])


def blocks():
    """(language, text) of the page's fenced blocks that a reader runs or saves, in order."""
    page = PAGE
    for port in PORTS:
        page = page.replace(port, str(processes.free_port()))
    return re.findall(r"^```(sh|python)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def in_this_process(text, monkeypatch, capfd):
    """A block of `ocdnet` commands alone: the exit code of the last, and its stdout."""
    for line in text.replace("\\\n", " ").splitlines():
        monkeypatch.setattr(sys, "argv", shlex.split(line, comments=True))
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
    return ended.value.code, capfd.readouterr().out


def in_a_shell(text):
    """A block by bash: the exit code, and the stdout; nothing of it outlives the block."""
    out = Path("stdout.txt")
    with out.open("w") as stdout:
        shell = subprocess.Popen(["bash", "-ec", text], stdout=stdout, start_new_session=True)
        try:
            return shell.wait(timeout=1200), out.read_text()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)


def walk(folder, monkeypatch, run):
    """Run the page in `folder`; the stdout of each block, by what its last command does."""
    monkeypatch.chdir(folder)
    (folder / "bin").mkdir()
    for name, words in (("ocdnet", "-m ocdnet "), ("python", "")):
        shim = folder / "bin" / name
        shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {words}"$@"\n')
        shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", processes.environment()["PYTHONPATH"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    said = {}
    for language, text in blocks():
        if language == "python":
            Path(text.split(":")[0].removeprefix("# ")).write_text(text)
            continue
        code, out = run(text)
        asked = re.search(r"# exit (\d)", text)
        assert code == (int(asked[1]) if asked else 0), text
        said[re.findall(r"^(?:ocdnet|python) (?:data )?(\S+)", text, re.MULTILINE)[-1]] = out
    # Behind an answer may stand what the server says at its end.
    return {name: json.JSONDecoder().raw_decode(out)[0] for name, out in said.items()}


def led_to_a_service(said, images):
    assert said["convert"]["from"] == "labelme"
    assert said["convert"]["images"] == images
    assert "--fix" in said["check"]["reasons"][0]
    assert said["check"]["fixed"]["left_out"] == 1
    assert said["split"]["train"]["images"] + said["split"]["val"]["images"] == images - 1
    assert said["tune"]["settings_tried"] == 750
    assert Path("found/photo_03_overlay.jpg").exists()
    assert Path(said["optimize"]["recommended"]["file"]).exists()
    for answer in (said["service.py"], said["serve"]):
        assert (answer["width"], answer["height"]) == (SIDE, SIDE)


@pytest.mark.usefixtures("small_network")
def test_the_page_leads_to_a_service_with_a_small_network(tmp_path, monkeypatch, capfd):
    def run(text):
        alone = all(line.startswith(("ocdnet ", " ")) for line in text.splitlines())
        if alone and "&" not in text:
            return in_this_process(text, monkeypatch, capfd)
        return in_a_shell(text)

    monkeypatch.setattr(optimize_trial, "WAYS", (("onnxruntime", "FP32"),))
    write_photos(tmp_path / "photos", 6, seed=2)  # a readable word in each part
    led_to_a_service(walk(tmp_path, monkeypatch, run), 6)
    assert support.leftovers(tmp_path) == []


@pytest.mark.slow
def test_the_page_leads_to_a_service_that_finds_words(tmp_path, monkeypatch):
    write_photos(tmp_path / "photos", 41)
    said = walk(tmp_path, monkeypatch, in_a_shell)
    led_to_a_service(said, 41)
    assert said["evaluate"]["hmean"] > 0.2
    assert Path("tuned.yaml").exists()
    assert said["serve"]["regions"]
