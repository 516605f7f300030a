"""The repository is a skill that validators and installers take as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
VALIDATOR = Path(sys.executable).with_name("agentskills")


def test_it_is_a_valid_skill(copy_skill, tmp_path):
    if not VALIDATOR.is_file():
        pytest.skip("skills-ref is not installed")
    folder = copy_skill(tmp_path / "tao-train-ocdnet")
    command = [str(VALIDATOR), "validate", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_small(skill_files):
    """An installer copies the tests, too."""
    sizes = {name: (REPOSITORY / name).stat().st_size for name in skill_files}
    assert sum(sizes.values()) <= 12e6
    assert sum(size for name, size in sizes.items() if name.parts[0] == "tests") <= 2e6
    assert sizes[Path("tests/golden/arrays.tar.xz")] <= 1e6


def test_an_installer_takes_every_file(skill_files):
    """It drops metadata.json and bytecode, follows links, and reads each SKILL.md as a skill."""
    assert [name for name in skill_files if name.name == "SKILL.md"] == [Path("SKILL.md")]
    for name in skill_files:
        assert name.name != "metadata.json"
        assert "__pycache__" not in name.parts
        assert not (REPOSITORY / name).is_symlink()
