"""The whole report of `ocdnet doctor`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from ocdnet.doctor import machine, packages
from ocdnet.doctor.check import ask


def report() -> dict[str, Any]:
    """Look at everything; slow tools are asked at the same time and for at most 5 s.

    Returns:
        ok: no check failed; checks: as `Check`, in a fixed order; commands: whether each that
        needs more than the light packages has what it needs; actions: as `Readiness`, of each of
        the catalogue.
    """
    with ThreadPoolExecutor(len(machine.TOOLS)) as pool:
        asked = {name: pool.submit(ask, *command) for name, command in machine.TOOLS.items()}
        groups, ready = packages.check_packages()
        answers = {name: future.result() for name, future in asked.items()}
    commands = packages.commands_of(ready)
    gpus = machine.check_gpus(answers["gpu"])
    checks = [
        *packages.check_copies(),
        *groups,
        *gpus,
        *machine.check_engines(),
        *machine.check_docker(answers["docker"], answers["toolkit"], has_gpu=bool(gpus[0].ok)),
        machine.check_uv(),
        machine.check_disk(needs_install=not commands["train"]),
        *machine.check_memory(),
    ]
    return {
        "ok": all(check.ok is not False for check in checks),
        "checks": [asdict(check) for check in checks],
        "commands": commands,
        "actions": {name: asdict(one) for name, one in packages.actions_of(ready).items()},
    }
