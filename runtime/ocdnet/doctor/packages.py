"""Which Python packages are here, from their metadata; none is imported."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from ocdnet import install
from ocdnet.catalogue import PLANNED, RUNS
from ocdnet.doctor.check import Check
from ocdnet.version import VERSION

_BASE = "base"

_COMMANDS: dict[str, tuple[tuple[str, ...], ...]] = {
    **{entry.name: entry.extras for entry in RUNS.values() if entry.section == entry.name},
    "data synth": (("data",),),
    "serve": (("serve",),),
}
"""The extras that a command needs beside the base packages: any one of several sets."""

_ACTIONS = tuple({**PLANNED, **RUNS}.values())
"""Everything that can be planned, and the search."""

_COMMON = (_BASE, "train", "export", "automl")
"""What an installation is expected to hold."""


def check_copies() -> list[Check]:
    """This copy of ocdnet, the Python it runs in, and the skill's own environment."""
    root = install.skill_root()
    where = f"in {root}" if root else "installed as a package"
    python = f"{sys.version.split()[0]} in {sys.prefix}"
    return [
        Check("ocdnet", True, f"{VERSION}, {where}", "everything"),
        Check("python", True, python, "everything"),
        *([_own_environment()] if root else []),
    ]


@dataclass(frozen=True)
class Readiness:
    """Whether an action can run here.

    Attributes:
        runs: it can.
        missing: packages that it lacks, with the releases that would do.
        mend: the shell command that installs them; None where it runs.
    """

    runs: bool
    missing: tuple[str, ...] = ()
    mend: str | None = None


def check_packages() -> tuple[list[Check], dict[str, Readiness]]:
    """A check of the base packages and of each extra, and what each command and action lacks."""
    needs = _requirements()
    wanted = {**{entry.name: entry.extras for entry in _ACTIONS}, **_COMMANDS}
    extras = dict.fromkeys(extra for sets in wanted.values() for one in sets for extra in one)
    checks = [_group(name, needs.get(name)) for name in (_BASE, *extras)]
    lacks = {
        check.name: () if check.ok else _lacking(needs.get(check.name) or ()) for check in checks
    }
    unknown = {check.name for check in checks if not check.ok and not lacks[check.name]}
    ready = {name: _readiness(sets or ((),), lacks, unknown) for name, sets in wanted.items()}
    return checks, ready


def commands_of(ready: Mapping[str, Readiness]) -> dict[str, bool]:
    """Whether each command that needs more than the light packages has what it needs."""
    return {command: ready[command].runs for command in _COMMANDS}


def actions_of(ready: Mapping[str, Readiness]) -> dict[str, Readiness]:
    """What each action of the catalogue lacks."""
    return {entry.name: ready[entry.name] for entry in _ACTIONS}


def _readiness(
    sets: Sequence[Sequence[str]], lacks: Mapping[str, Sequence[str]], unknown: Collection[str]
) -> Readiness:
    """Of the set of extras of which the fewest packages are missing."""

    def bad(extras: Sequence[str]) -> list[str]:
        return [name for name in (_BASE, *extras) if lacks[name] or name in unknown]

    def missing(extras: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one for name in bad(extras) for one in lacks[name]))

    best = min(sets, key=lambda extras: (bool(bad(extras)), len(missing(extras))))
    if not bad(best):
        return Readiness(runs=True)
    install_for = dict.fromkeys("train" if name == _BASE else name for name in bad(best))
    return Readiness(False, missing(best), install.command(",".join(install_for)))


def version_of(package: str) -> str | None:
    """The installed version of a package; None without it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def cuda_of_torch() -> str | None:
    """The CUDA version that the installed torch was built for, e.g. `13.0`; None without one."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    match = re.search(r"^cuda\b.*=\s*['\"]([\d.]+)['\"]", text, re.MULTILINE)
    return match[1] if match else None


def _own_environment() -> Check:
    folder, serves = install.venv_dir(), "the packages of an installed skill"
    if not install.has_venv():
        return Check("environment", None, f"none at {folder} yet", serves)
    sites = [*folder.glob("lib/python3*/site-packages"), *folder.glob("Lib/site-packages")]
    copies = metadata.distributions(name="ocdnet", path=[str(site) for site in sites])
    version = next((copy.version for copy in copies), None)
    if version == VERSION:
        return Check("environment", True, f"{folder}, made for ocdnet {VERSION}", serves)
    state = f"{folder}, " + (f"made for ocdnet {version}" if version else "not complete")
    return Check("environment", False, state, serves, install.command(None))


def _requirements() -> Mapping[str, Sequence[str]]:
    """The declared requirements by extra; empty where they cannot be read."""
    root = install.skill_root()
    try:
        if root is not None:
            project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
            return {_BASE: project["dependencies"], **project["optional-dependencies"]}
        lines = metadata.requires("ocdnet") or []
    except (OSError, ValueError, KeyError, metadata.PackageNotFoundError):
        return {}
    by_extra: dict[str, list[str]] = {}
    for line in lines:
        requirement, _, marker = line.partition(";")
        extra = re.search(r"extra == .([\w-]+)", marker)
        by_extra.setdefault(extra[1] if extra else _BASE, []).append(requirement)
    return by_extra


def _group(name: str, requirements: Sequence[str] | None) -> Check:
    served = ", ".join(c for c, sets in _COMMANDS.items() if name == _BASE or name in sum(sets, ()))
    if requirements is None:
        return Check(name, None, "this copy does not say what it needs", served)
    lacking = _lacking(requirements)
    there = [f"{package} {version_of(package)}" for package, _ in map(_split, requirements)]
    if not lacking:
        return Check(name, True, ", ".join(there), served)
    ok = False if name in _COMMON else None
    command = install.command("train" if name == _BASE else name)
    return Check(name, ok, f"missing {', '.join(lacking)}", served, command)


def _lacking(requirements: Sequence[str]) -> list[str]:
    """Those that are not here, or in a release that does not do."""
    lacking = []
    for requirement in requirements:
        package, bounds = _split(requirement)
        version = version_of(package)
        if version is None:
            lacking.append(package)
        elif not _within(version, bounds):
            lacking.append(f"{package}{bounds} (here {version})")
    return lacking


def _split(requirement: str) -> tuple[str, str]:
    """Name and version bounds of a requirement: `torch>=2.6` is torch and >=2.6."""
    name = re.match(r"[\w.-]*\w", requirement.strip())
    package = name[0] if name else requirement
    return package, requirement.strip()[len(package) :].strip()


def _within(version: str, bounds: str) -> bool:
    """Whether a version keeps bounds of the forms >=X and <X; others are not looked at."""
    for operator, limit in re.findall(r"(>=|<)\s*([\d.]+)", bounds):
        if (_numbers(version) >= _numbers(limit)) != (operator == ">="):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])
