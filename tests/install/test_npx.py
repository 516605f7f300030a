"""What `npx skills` makes of this repository. Needs node, npx and the npm registry.

GitHub is a bare repository on this disk, by git's insteadOf.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ocdnet.version import VERSION

pytestmark = pytest.mark.install

NAME = "tao-train-ocdnet"
BIN = Path(sys.executable).parent
PLAN = ["plan", "--action", "train", "--automl-policy", "off", "--train-dataset", "words"]
INSTALLERS = {
    "1.5.18": ["npx", "-y", "skills@1.5.18"],  # the newest for node 20
    "latest": ["npx", "-y", "-p", "node@22", "-p", "skills@latest", "skills"],
}


class Project:
    """A user's project folder, with the installer and a repository to install from."""

    def __init__(self, folder: Path, source: Path, installer: list[str], env: dict[str, str]):
        self.folder, self.source, self._installer, self.env = folder, source, installer, env

    def skills(self, *arguments: str) -> str:
        return self.run(*self._installer, *arguments)

    def run(self, *command: str | Path) -> str:
        """Its stdout; fails with all it said where the exit code is not 0."""
        done = subprocess.run(
            list(map(str, command)),
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def publish(self, folder: Path) -> None:
        """Commit what a folder holds to the repository that is installed from."""
        for command in (
            ["add", "-A"],
            ["commit", "-qm", "change"],
            ["push", "-q", str(self.source), "HEAD:main"],
        ):
            subprocess.run(["git", *command], cwd=folder, env=self.env, check=True)

    @property
    def skill(self) -> Path:
        return self.folder / ".agents" / "skills" / NAME

    def contents(self) -> dict[Path, bytes]:
        return {
            path.relative_to(self.skill): hashlib.sha256(path.read_bytes()).digest()
            for path in self.skill.rglob("*")
            if path.is_file()
        }


@pytest.fixture(scope="session")
def downloads(tmp_path_factory):
    """Caches that are empty at first: what is tested is a first installation."""
    folder = tmp_path_factory.mktemp("downloads")
    return {"UV_CACHE_DIR": f"{folder}/uv", "npm_config_cache": f"{folder}/npm"}


@pytest.fixture(params=INSTALLERS)
def project(request, clean, downloads, copy_skill, tmp_path):
    if shutil.which("npx") is None:
        pytest.skip("npx is not here")
    bare = tmp_path / "hub" / "example" / f"{NAME}.git"
    git = tmp_path / "gitconfig"
    git.write_text(
        f'[url "file://{tmp_path}/hub/"]\ninsteadOf = https://github.com/\n'
        "[user]\nname = test\nemail = test@example.com\n[init]\ndefaultBranch = main\n"
    )
    env = clean | downloads
    env |= {"GIT_CONFIG_GLOBAL": str(git), "DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
    env["PATH"] = f"{BIN}:{env['PATH']}"
    for name in ("img", "gt"):
        (tmp_path / "project" / "words" / name).mkdir(parents=True)
    (tmp_path / "project" / "words" / "img" / "1.jpg").touch()
    (tmp_path / "project" / "words" / "gt" / "gt_1.txt").touch()
    project = Project(tmp_path / "project", bare, INSTALLERS[request.param], env)
    project.run("git", "init", "-q", "--bare", bare)
    project.run("git", "init", "-q", tmp_path / "source")
    copy_skill(tmp_path / "source")
    project.publish(tmp_path / "source")
    project.skills("add", f"example/{NAME}", "-a", "claude-code", "codex", "-y")
    return project


def test_install_use_update_remove(project, skill_files, tmp_path):
    assert sorted(project.contents()) == sorted(skill_files)
    for agent in (".claude", ".agents"):
        assert (project.folder / agent / "skills" / NAME / "SKILL.md").is_file()
    installed = project.contents()
    _use(project, "python3")
    if (BIN / "uv").is_file():
        _use(project, "uv", "run", "--script")
    assert project.contents() == installed
    _update(project, tmp_path / "source")
    project.skills("remove", NAME, "-y")
    assert [path for path in project.folder.rglob("*") if path.name == NAME] == []


def _use(project, *program):
    """Plan a run from the project's folder, then call the program as the plan does."""
    script = Path(".claude", "skills", NAME, "scripts", "ocdnet.py")
    listed = json.loads(project.run(*program, script, "spec", "list", "train", "--popular"))
    assert any(line.startswith("train.num_epochs") for line in listed["keys"])
    planned = json.loads(project.run(*program, script, *PLAN, "--write", f"run_{len(program)}"))
    assert Path(project.folder, planned["spec_file"]).is_file()
    words = shlex.split(planned["commands"][0])
    calling = words[: words.index("train")]
    assert calling == [*program, str(project.folder / script)]
    assert project.run(*calling, "--version") == f"{VERSION}\n"


def _update(project, source):
    """A newer version replaces the whole folder."""
    (source / "runtime" / "ocdnet" / "version.py").write_text('VERSION = "9.9.9"\n')
    project.publish(source)
    (project.skill / "left_here").touch()
    project.skills("update", "-y")
    script = project.skill / "scripts" / "ocdnet.py"
    assert project.run("python3", script, "--version") == "9.9.9\n"
    assert not (project.skill / "left_here").exists()
