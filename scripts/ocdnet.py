#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "click>=8.1",
#   "jinja2>=3.1",
#   "jsonschema>=4.20",
#   "pydantic>=2.9",
#   "ruamel.yaml>=0.18",
# ]
# ///
"""Runs `ocdnet` from this skill's folder, and leaves no file in it.

The packages above are what planning needs. Where the skill's own environment is there (`ocdnet
doctor` tells how to make it), it runs in that one, which holds the heavy rest. It parses on Python
3.8, so that an older Python gets a message and not a syntax error.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NoReturn

NEEDED = ("click", "jinja2", "jsonschema", "pydantic", "ruamel.yaml")
_SCRIPT = Path(__file__).absolute()
_RUNTIME = _SCRIPT.resolve().parents[1] / "runtime"
_MARK = "OCDNET_LAUNCHED"  # tells the interpreter that we start to start no other


def main() -> None:
    """Run the command that the arguments name, and exit with its code."""
    _move_bytecode()
    # Not this file's folder, in which `ocdnet` is this file; installed copies come after ours.
    here = _SCRIPT.resolve().parent
    sys.path[:] = [str(_RUNTIME), *(path for path in sys.path if Path(path).resolve() != here)]
    if not (_RUNTIME / "ocdnet" / "install.py").is_file():
        _fail("skill-damaged", f"{_RUNTIME} is incomplete", "Install the skill again.")
    from ocdnet import install  # noqa: PLC0415 - findable from here on

    _enter_environment(install)
    _check_environment(install)
    from ocdnet.cli.main import main as run  # noqa: PLC0415 - the same

    run()


def _move_bytecode() -> None:
    """Keep bytecode, ours and that of child processes, out of the skill's folder."""
    if sys.pycache_prefix or sys.dont_write_bytecode:
        return
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        base = base if base.is_absolute() else Path("~/.cache").expanduser()
        cache = base / "ocdnet" / "pycache"
        cache.mkdir(parents=True, exist_ok=True)
        usable = os.access(cache, os.W_OK)
    except (OSError, RuntimeError):  # the latter without a home
        usable = False
    if usable:
        sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(cache)
    else:
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def _enter_environment(install: ModuleType) -> None:
    """Go on in the skill's own environment where there is one: it returns only where not."""
    if os.environ.pop(_MARK, None):
        return
    os.environ[install.PROGRAM] = install.program(str(_SCRIPT))
    folder = install.venv_dir()
    if os.environ.get(install.VENV):
        if not install.has_venv():
            what = f"{install.VENV} names a folder that holds no Python"
            _fail("bad-venv", what, install.command(), got=str(folder))
    elif not install.has_venv() or not _is_ready(folder):
        return
    if install.in_venv():
        return
    python = install.venv_python()
    os.environ[_MARK] = "1"
    try:
        sys.exit(_run([str(python), str(_SCRIPT), *sys.argv[1:]]))
    except OSError as error:
        _fail("bad-venv", f"{python}: {error.strerror}", f"Remove {folder}.")


def _run(command: list[str]) -> int:
    """Run a command, hand on to it the signals that ask to end, and return its exit code."""
    import signal  # noqa: PLC0415 - slow to import, as the next
    import subprocess  # noqa: PLC0415

    started: list[subprocess.Popen[bytes]] = []
    missed: list[int] = []

    def hand_on(number: int, _: object) -> None:
        if number == signal.SIGINT and _is_foreground():
            return
        if started:
            started[0].send_signal(number)
        else:
            missed.append(number)

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, hand_on)
    started.append(subprocess.Popen(command))  # noqa: S603 - our own arguments
    for number in missed:
        started[0].send_signal(number)
    code = started[0].wait()
    return code if code >= 0 else 128 - code  # as a shell tells that a signal ended it


def _is_foreground() -> bool:
    """Whether a terminal's Ctrl-C reaches the command, too, which is of this process's group."""
    try:
        with Path("/dev/tty").open() as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return os.name == "nt"


def _is_ready(venv: Path) -> bool:
    """Whether an environment holds what planning needs: it may still be being installed."""
    sites = [*venv.glob("lib/python3*/site-packages"), *venv.glob("Lib/site-packages")]
    names = [name.replace(".", "/") for name in NEEDED]
    return any(all((site / name).is_dir() for name in names) for site in sites)


def _check_environment(install: ModuleType) -> None:
    """Exit with 5 where this Python is too old or lacks a package."""
    by_uv = install.uv_run(str(_SCRIPT))
    if sys.version_info < (3, 11):  # noqa: UP036 - an old one is what this is for
        _fail(
            "old-python",
            "ocdnet needs a newer Python",
            by_uv or "Install Python 3.11 or newer, or uv.",
            got=".".join(map(str, sys.version_info[:3])),
            expected="3.11 or newer",
        )
    absent = [name for name in NEEDED if not _is_installed(name)]
    if absent:
        hint = install.command() if install.in_venv() or not by_uv else by_uv
        _fail("missing-package", f"This Python lacks {', '.join(absent)}", hint, got=sys.executable)


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # what it is in is not there
        return False


def _fail(
    code: str, message: str, hint: str, got: object = None, expected: object = None
) -> NoReturn:
    """Report an error in the form that every command uses, and exit with 5."""
    error = {"code": code, "message": message, "got": got, "expected": expected, "hint": hint}
    sys.stderr.write(f"error: {message}. {hint}\n")
    sys.stdout.write(json.dumps({"error": error}, indent=2) + "\n")
    sys.exit(5)


if __name__ == "__main__":
    main()
