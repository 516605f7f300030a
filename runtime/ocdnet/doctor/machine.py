"""What the machine has: GPU, TensorRT, docker, uv, disk, memory."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from ocdnet import engines, hardware, install
from ocdnet.doctor.check import Answer, Check
from ocdnet.doctor.packages import cuda_of_torch, version_of
from ocdnet.hardware import machine_cpus

TOOLS = {
    "gpu": ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"),
    "docker": ("docker", "info", "--format", "{{json .}}"),
    "toolkit": ("nvidia-ctk", "--version"),
}
"""Commands that are asked, by the check that reads the answer."""

_OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}
"""NVIDIA driver that each major version of CUDA needs (CUDA compatibility guide, table 1)."""

_GB = 1e9
_INSTALL_GB = 6.0
_RESULTS_GB = 1.0
_SHARED_GB = 1.0


def check_gpus(answer: Answer | None) -> list[Check]:
    """The GPUs, and whether the installed torch can use them."""
    gpus = answer.out.strip().splitlines() if answer is not None and answer.worked else []
    serves = "speed; training and evaluating also run on a CPU"
    if answer is None:
        gpu = Check("gpu", None, "no NVIDIA driver here (nvidia-smi)", serves)
    elif gpus:
        gpu = Check("gpu", True, "; ".join(gpus), serves)
    else:
        gpu = Check("gpu", False, answer.trouble or "nvidia-smi lists none", serves)
    return [gpu, _torch(gpus)]


def check_engines() -> list[Check]:
    """Each runtime that engines are built for, and whether ONNX Runtime computes on GPUs."""
    checks = []
    for kind, runtime in engines.RUNTIMES.items():
        absent = engines.lacking(kind)
        # Of Debian's packages and in containers it has no metadata.
        version = version_of(kind) or (
            version_of("onnxruntime-gpu") if kind == "onnxruntime" else ""
        )
        found = f"{kind} {version or ''}".strip() if not absent else ", ".join(absent)
        serves = f"engines for {runtime.title}" + (", on a GPU" if runtime.gpu else "")
        usable = bool(absent) and (hardware.gpus() or not runtime.gpu)
        mend = engines.mend(kind) if usable else None
        checks.append(Check(kind, not absent or None, found, serves, mend))
    cuda = engines.has_cuda_provider()
    on_gpu = "the CUDA provider is here" if cuda else "computes on the CPU alone"
    return [*checks, Check("onnxruntime-cuda", cuda or None, on_gpu, "ONNX files on a GPU")]


def _torch(gpus: list[str]) -> Check:
    version, cuda = version_of("torch"), cuda_of_torch()
    needs = "training on the GPU" if gpus else "training"
    if version is None:
        return Check("torch", None, "not installed: see train", needs)
    build = f"torch {version}, " + (f"for CUDA {cuda}" if cuda else "for the CPU alone")
    if not gpus:
        return Check("torch", True, build, needs)
    driver = gpus[0].rpartition(",")[2].strip()
    oldest = _OLDEST_DRIVER.get(int(cuda.partition(".")[0]), 0) if cuda else 0
    if cuda and not driver.partition(".")[0].isdecimal():
        return Check("torch", None, f"{build}; the driver's version is {driver!r}", needs)
    if cuda and int(driver.partition(".")[0]) >= oldest:
        return Check("torch", True, build, needs)
    if cuda:
        build = f"{build}, which needs driver {oldest} or newer, not {driver}"
    return Check("torch", False, build, needs, _other_torch(bool(cuda)))


def _other_torch(is_cuda: bool) -> str | None:
    """The command that replaces torch by a build for this machine's driver."""
    python = shlex.quote(sys.executable)
    uv = install.uv_program()
    if uv:
        return (
            f"{uv} pip install --python {python} --torch-backend auto --reinstall torch torchvision"
        )
    # PyPI has one build, for the newest CUDA: it serves instead of a CPU build alone.
    return None if is_cuda else f"{python} -m pip install --force-reinstall torch torchvision"


def check_docker(answer: Answer | None, toolkit: Answer | None, has_gpu: bool) -> list[Check]:
    """The docker client and daemon, and whether containers can be given the GPU."""
    needs = "runs with --platform docker or tao-docker"
    gpu_needs = "GPUs in containers"
    if answer is None:
        none = "no docker command on the PATH"
        return [
            Check("docker", None, none, needs),
            Check("nvidia-container-toolkit", None, none, gpu_needs),
        ]
    info = _docker_info(answer)
    if not info.get("ServerVersion"):
        trouble = "; ".join(info.get("ServerErrors") or []) or answer.trouble
        docker = Check("docker", None, trouble[:200], needs, _fix_docker(trouble))
        return [docker, Check("nvidia-container-toolkit", None, "docker does not say", gpu_needs)]
    docker = Check("docker", True, f"docker {info['ServerVersion']}", needs)
    if _gives_gpus(info):
        versions = toolkit.out.strip().splitlines() if toolkit else []
        version = versions[0] if versions else "docker knows NVIDIA's GPUs"
        return [docker, Check("nvidia-container-toolkit", True, version, gpu_needs)]
    if not has_gpu:
        return [docker, Check("nvidia-container-toolkit", None, "not set up; no GPU", gpu_needs)]
    command = "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"
    if toolkit is None:
        command = f"sudo apt-get install -y nvidia-container-toolkit && {command}"
    return [
        docker,
        Check("nvidia-container-toolkit", False, "not set up in docker", gpu_needs, command),
    ]


def _docker_info(answer: Answer) -> dict[str, Any]:
    try:
        info = json.loads(answer.out)
    except ValueError:
        return {}
    return info if isinstance(info, dict) else {}


def _fix_docker(trouble: str) -> str | None:
    if "permission denied" in trouble.lower():
        return 'sudo usermod -aG docker "$USER" && newgrp docker'
    return "sudo systemctl start docker" if shutil.which("systemctl") else None


def _gives_gpus(info: dict[str, Any]) -> bool:
    devices = [str(device.get("ID")) for device in info.get("DiscoveredDevices") or []]
    return "nvidia" in (info.get("Runtimes") or {}) or any("nvidia.com" in one for one in devices)


def check_uv() -> Check:
    """Whether uv is here."""
    uv = install.uv_program()
    return Check("uv", bool(uv) or None, uv or "not installed; venv and pip do", "installing")


def check_disk(needs_install: bool) -> Check:
    """Room for what is still to be installed, and for results in the current folder."""
    free, here = _free(install.venv_dir()), _free(Path.cwd())
    room = f"{free:.1f} GB free for {install.venv_dir()}, {here:.1f} GB in {Path.cwd()}"
    short = here < _RESULTS_GB or (needs_install and free < _INSTALL_GB)
    serves = f"packages ({_INSTALL_GB:.0f} GB, elsewhere with {install.VENV}=DIR) and results"
    return Check("disk", not short, room, serves)


def _free(path: Path) -> float:
    """Free GB on the disk that a path is on or will be on."""
    while not os.path.exists(path) and path != path.parent:  # noqa: PTH110 - may be unreadable
        path = path.parent
    return shutil.disk_usage(path).free / _GB


def check_memory() -> list[Check]:
    """Processors and memory, and the shared memory that data workers pass batches through."""
    size = f"{machine_cpus()} processors"
    if hasattr(os, "sysconf"):
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GB
        size += f", {total:.1f} GB of memory"
    machine = Check("machine", True, size, "training")
    shared = Path("/dev/shm")  # noqa: S108 - asked for its size alone
    if not shared.is_dir():
        return [machine]
    room = shutil.disk_usage(shared).total / _GB
    command = None if room >= _SHARED_GB else "sudo mount -o remount,size=4G /dev/shm"
    text = f"{room:.2f} GB" + (" (of a container: docker run --shm-size=4g)" if command else "")
    return [machine, Check("shared-memory", command is None, text, "data workers", command)]
