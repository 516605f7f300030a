"""scripts/ocdnet.py of an installed copy: which Python and which ocdnet run, and what is left."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from ocdnet import install

REPOSITORY = Path(__file__).resolve().parents[2]
LAUNCHER = REPOSITORY / "scripts" / "ocdnet.py"


@pytest.fixture
def skill(copy_skill, tmp_path):
    """An installed copy that says it is version 9.9.9, in a folder with awkward characters."""
    folder = copy_skill(tmp_path / "it's a project" / "tao-train-ocdnet")
    (folder / "runtime" / "ocdnet" / "version.py").write_text('VERSION = "9.9.9"\n')
    return folder


def run(skill, *arguments, env, python=sys.executable, cwd=None):
    command = [str(python), str(skill / "scripts" / "ocdnet.py"), *arguments]
    return subprocess.run(
        command, env=env, cwd=cwd or env["HOME"], capture_output=True, text=True, check=False
    )


def error_of(done):
    assert "Traceback" not in done.stderr
    (error,) = json.loads(done.stdout).values()
    assert list(error) == ["code", "message", "got", "expected", "hint"]
    assert done.stderr == f"error: {error['message']}. {error['hint']}\n"
    return done.returncode, error


def contents(folder):
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).digest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def make_venv(folder, *, packages=True):
    """An environment that has this one's packages, but not by itself this repository's ocdnet."""
    command = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    (site,) = folder.glob("lib/python3*/site-packages")
    if packages:
        (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return site


def test_nothing_is_left_in_the_skill(skill, clean):
    before = contents(skill)
    for arguments in (["spec", "list", "train"], ["--help"], ["nonsense"]):
        run(skill, *arguments, env=clean)
    assert contents(skill) == before
    cached = Path(clean["HOME"], ".cache", "ocdnet", "pycache").rglob("*.pyc")
    assert any(path.name.startswith("catalogue.") for path in cached)


def test_nothing_is_left_where_there_is_no_cache(skill, clean):
    before = contents(skill)
    Path(clean["HOME"], "file").touch()
    env = clean | {"XDG_CACHE_HOME": f"{clean['HOME']}/file"}
    assert run(skill, "spec", "list", "train", env=env).returncode == 0
    assert contents(skill) == before


def test_it_runs_this_copy_from_anywhere(skill, clean, tmp_path):
    (tmp_path / "link").symlink_to(skill)
    for folder in (skill, tmp_path / "link"):
        done = run(folder, "--version", env=clean, cwd=tmp_path)
        assert (done.stdout, done.stderr) == ("9.9.9\n", "")
    relative = [sys.executable, "ocdnet.py", "--version"]
    done = subprocess.run(
        relative, env=clean, cwd=skill / "scripts", capture_output=True, text=True, check=True
    )
    assert done.stdout == "9.9.9\n"


def test_a_stale_copy_in_the_own_environment_does_not_run(skill, clean, tmp_path):
    site = make_venv(tmp_path / "venv")
    shutil.copytree(REPOSITORY / "runtime" / "ocdnet", site / "ocdnet")
    env = clean | {"OCDNET_VENV": str(tmp_path / "venv"), "PYTHONPATH": str(site)}
    assert run(skill, "--version", env=env).stdout == "9.9.9\n"


def test_it_goes_on_in_the_own_environment(skill, clean, tmp_path):
    make_venv(tmp_path / "bare", packages=False)
    python = tmp_path / "bare" / "bin" / "python"
    code, error = error_of(run(skill, "--version", env=clean, python=python))
    assert (code, error["code"], error["got"]) == (5, "missing-package", str(python))
    make_venv(tmp_path / "venv")
    env = clean | {"OCDNET_VENV": str(tmp_path / "venv")}
    done = run(skill, "--version", env=env, python=python)
    assert (done.returncode, done.stdout) == (0, "9.9.9\n")


def test_an_unfinished_environment_is_left_alone(skill, clean):
    make_venv(Path(clean["HOME"], ".local", "share", "ocdnet", "venv"), packages=False)
    assert run(skill, "--version", env=clean).stdout == "9.9.9\n"


def test_it_starts_another_python_once(skill, clean, tmp_path):
    """Not again and again where that Python does not say that it is of the environment."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho started >&2\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    done = run(skill, "--version", env=clean | {"OCDNET_VENV": str(tmp_path / "venv")})
    assert (done.stdout, done.stderr) == ("9.9.9\n", "started\n")


def test_a_named_environment_without_python(skill, clean, tmp_path):
    folder = tmp_path / "no; $(venv)"
    code, error = error_of(run(skill, "--version", env=clean | {"OCDNET_VENV": str(folder)}))
    assert (code, error["code"], error["got"]) == (5, "bad-venv", str(folder))
    words = shlex.split(error["hint"])
    assert {str(folder), f"{skill.resolve()}[train,export,automl]"} <= set(words)


def test_an_environment_that_does_not_start(skill, clean, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text("not a program")
    code, error = error_of(run(skill, "--version", env=clean | {"OCDNET_VENV": str(tmp_path)}))
    assert (code, error["code"]) == (5, "bad-venv")


# A command that counts what it is told to end by; its exit code says how often, and by what.
LISTENER = """
import signal, sys, time
heard = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: heard.append(number))
print("ready", flush=True)
end = time.monotonic() + 30
while not heard and time.monotonic() < end:
    time.sleep(0.01)
time.sleep(0.3)
sys.exit(100 * len(heard) + heard[0])
"""


@pytest.fixture
def listening(skill, clean, tmp_path):
    """The launcher, whose environment's Python is LISTENER, once that listens."""
    (tmp_path / "listener.py").write_text(LISTENER)
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tmp_path}/listener.py"\n')
    python.chmod(0o755)
    started = []

    def start(**more):
        process = subprocess.Popen(
            [sys.executable, skill / "scripts" / "ocdnet.py", "train"],
            env=clean | {"OCDNET_VENV": str(tmp_path / "venv")},
            stdout=subprocess.PIPE,
            start_new_session=True,
            **more,
        )
        started.append(process)
        assert process.stdout.readline() == b"ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_it_is_told_the_command_hears(listening, number):
    process = listening()
    process.send_signal(number)
    assert process.wait(20) == 100 + number


def test_ctrl_c_in_a_terminal_is_heard_once(listening):
    ours, theirs = os.openpty()
    name = os.ttyname(theirs)
    process = listening(stdin=theirs, preexec_fn=lambda: os.close(os.open(name, os.O_RDWR)))
    os.write(ours, b"\x03")
    assert process.wait(20) == 100 + signal.SIGINT
    os.close(ours)
    os.close(theirs)


def test_a_command_that_a_signal_ends(skill, clean, tmp_path):
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nkill -KILL $$\n")
    python.chmod(0o755)
    done = run(skill, "train", env=clean | {"OCDNET_VENV": str(tmp_path / "venv")})
    assert done.returncode == 128 + signal.SIGKILL


def test_missing_packages_are_named_with_the_command(skill, clean, tmp_path):
    make_venv(tmp_path / "bare", packages=False)
    tools = tmp_path / "tools"
    tools.mkdir()
    python = tmp_path / "bare" / "bin" / "python"
    env = clean | {"PATH": str(tools)}
    _, error = error_of(run(skill, "plan", env=env, python=python))
    assert all(name in error["message"] for name in ("click", "pydantic", "ruamel.yaml"))
    venv = Path(clean["HOME"], ".local", "share", "ocdnet", "venv")
    assert error["hint"].startswith(f"{python} -m venv {venv} && {venv}/bin/python -m pip install")
    (tools / "uv").touch(mode=0o755)
    _, error = error_of(run(skill, "plan", env=env, python=python))
    assert error["hint"].startswith("uv run --script '")


def old_pythons():
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return [versions / name / "bin" / "python" for name in ("3.8.18", "3.9.18", "3.10.13")]


@pytest.mark.parametrize("python", old_pythons(), ids=lambda path: path.parts[-3])
def test_an_old_python_gets_a_message(skill, clean, python):
    if not python.exists():
        pytest.skip(f"{python} is not here")
    code, error = error_of(run(skill, "--version", env=clean, python=python))
    assert (code, error["code"]) == (5, "old-python")
    assert error["got"] == python.parts[-3]


@pytest.mark.parametrize("name", ["install", "errors", "__init__", "launcher"])
def test_what_an_old_python_reads_has_no_new_syntax(name):
    path = LAUNCHER if name == "launcher" else REPOSITORY / f"runtime/ocdnet/{name}.py"
    ast.parse(path.read_text(), feature_version=(3, 8))


def test_the_launcher_asks_for_what_pyproject_asks_for():
    text = LAUNCHER.read_text()
    block = re.search(r"^# /// script\n((?:#.*\n)+?)# ///$", text, re.MULTILINE)[1]
    header = "\n".join(line.removeprefix("#") for line in block.splitlines())
    inline = tomllib.loads(header)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert set(inline["dependencies"]) <= set(project["dependencies"])
    assert inline["requires-python"] == project["requires-python"]
    needed = re.search(r"^NEEDED = (\(.*\))$", text, re.MULTILINE)[1]
    assert set(ast.literal_eval(needed)) == {
        re.match(r"[\w.]+", line)[0] for line in inline["dependencies"]
    }


class TestProgram:
    """How the commands that we print start."""

    @pytest.fixture(autouse=True)
    def tools(self, monkeypatch, tmp_path):
        for name in ("python3", "uv"):
            (tmp_path / name).touch(mode=0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("UV", raising=False)
        return tmp_path

    def test_by_uv(self, monkeypatch):
        monkeypatch.setenv("UV", "/opt/uv")
        assert install.program("/a b/x.py") == "uv run --script '/a b/x.py'"

    def test_by_a_uv_that_is_not_on_the_path(self, monkeypatch, tools):
        (tools / "uv").rename(tools / "my uv")
        monkeypatch.setenv("UV", str(tools / "my uv"))
        assert install.program("/x.py") == f"'{tools}/my uv' run --script /x.py"

    def test_by_the_python_on_the_path(self, monkeypatch, tools):
        monkeypatch.setattr(sys, "executable", str(tools / "python"))
        assert install.program("/x.py") == "python3 /x.py"

    def test_by_another_python(self, monkeypatch):
        monkeypatch.setattr(sys, "executable", "/opt/my python/bin/python3")
        assert install.program("/x.py") == "'/opt/my python/bin/python3' /x.py"


class TestCommand:
    """The command that installs what is missing."""

    def test_installed_as_a_package(self, monkeypatch):
        monkeypatch.delenv(install.PROGRAM, raising=False)
        assert install.command("data") == 'pip install "ocdnet[data]"'
        assert install.command("openvino") == 'pip install "ocdnet[openvino]"'
        assert install.command("automl") == 'pip install "ocdnet[train,export,automl]"'

    def test_an_environment_that_is_there_is_kept(self, monkeypatch, tmp_path):
        monkeypatch.setenv(install.PROGRAM, "python3 x.py")
        monkeypatch.setenv(install.VENV, str(tmp_path))
        monkeypatch.setattr(shutil, "which", lambda _: None)
        monkeypatch.delenv("UV", raising=False)
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "python").touch()
        python = tmp_path / "bin" / "python"
        wanted = f"'{REPOSITORY}[data]'"
        assert (
            install.command("data") == f"{python} -m ensurepip && {python} -m pip install {wanted}"
        )
