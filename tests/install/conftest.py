"""The skill as an installer would copy it, and a clean environment to run it in."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def skill_files() -> list[Path]:
    """Every file of the repository, relative: tracked or new, not ignored."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    names = [Path(name) for name in listed.stdout.split("\0") if name]
    return [name for name in names if (REPOSITORY / name).is_file()]


@pytest.fixture
def copy_skill(skill_files):
    """Copy the repository's files into a folder."""

    def copy(folder: Path) -> Path:
        for name in skill_files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target)
        return folder

    return copy


@pytest.fixture
def clean(tmp_path) -> dict[str, str]:
    """Variables of a user who set none of ours, with a home of their own."""
    home = tmp_path / "home"
    home.mkdir()
    ours = ("PYTHON", "OCDNET", "XDG", "UV", "VIRTUAL", "COV")
    kept = {name: os.environ[name] for name in os.environ if not name.startswith(ours)}
    return {**kept, "HOME": str(home)}
