"""What pip installs: built, checked and used in an environment that has nothing else.

Needs PyPI, for hatchling, twine and the requirements of the extra `deploy`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

import tiny_onnx
from ocdnet.version import VERSION

pytestmark = pytest.mark.install

REPOSITORY = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).with_name("uv")


def run(*command, **options):
    """Its stdout; fails with all it said where the exit code is not 0."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """A folder with the wheel and the source archive."""
    folder = tmp_path_factory.mktemp("dist")
    run(UV, "build", "--out-dir", folder, cwd=REPOSITORY)
    return folder


@pytest.fixture(scope="module")
def wheel(dist):
    return dist / f"ocdnet-{VERSION}-py3-none-any.whl"


def test_an_index_takes_both(dist, wheel):
    files = [wheel, dist / f"ocdnet-{VERSION}.tar.gz"]
    assert run(UV, "tool", "run", "twine", "check", "--strict", *files).count("PASSED") == 2


def test_the_wheel_holds_what_commands_need_and_nothing_else(wheel, skill_files):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    due = set()
    for path in skill_files:
        if path.parts[:2] == ("runtime", "ocdnet") and "docker" not in path.parts:
            due.add(path.relative_to("runtime").as_posix())
        elif path.parts[0] in {"schemas", "references"}:
            due.add(f"ocdnet/artifacts/{path.as_posix()}")
    assert names == due
    assert {"ocdnet/py.typed", "ocdnet/artifacts/schemas/train.schema.json"} <= names


def test_it_finds_text_where_nothing_else_is(wheel, clean, tmp_path):
    python = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(UV, "venv", "-q", "--python", sys.executable, tmp_path / "env", env=clean)
    limits = ["-c", REPOSITORY / "constraints.txt"]
    run(UV, "pip", "install", "-q", "--python", python, *limits, f"{wheel}[deploy]", env=clean)
    model = tiny_onnx.write_detector(tmp_path / "light.onnx")
    picture = np.zeros((240, 320, 3), np.uint8)
    cv2.rectangle(picture, (60, 100), (259, 139), (255, 255, 255), -1)
    cv2.imwrite(str(tmp_path / "picture.png"), picture)

    def ocdnet(*words):
        return run(python.with_name("ocdnet"), *words, env=clean, cwd=tmp_path)

    assert ocdnet("--version") == f"{VERSION}\n"
    record = json.loads(ocdnet("predict", "picture.png", "--model", model, "--json", "-"))
    (region,) = record["regions"]
    centre = np.mean(region["polygon"], axis=0)
    assert np.allclose(centre, (159.5, 119.5), atol=2), region
    script = (
        "import sys; from ocdnet import Detector; page = Detector('light.onnx')('picture.png');"
        "print(len(page.polygons), 'torch' in sys.modules)"
    )
    assert run(python, "-c", script, env=clean, cwd=tmp_path) == "1 False\n"
    with pytest.raises(AssertionError, match="No module named 'torch'"):
        run(python, "-c", "import torch", env=clean)
