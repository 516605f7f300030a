"""Where this copy of ocdnet runs from, and the command that installs what it lacks.

The launcher imports this file before it knows that Python is new enough: it must parse on 3.8.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from ocdnet.errors import EnvironmentFault

PROGRAM = "OCDNET_PROGRAM"
"""Variable in which the launcher tells how it was called, quoted for a shell."""

VENV = "OCDNET_VENV"
"""Variable that moves the skill's own environment."""

_EXTRA = {
    "torch": "train",
    "torchvision": "train",
    "pytorch_lightning": "train",
    "onnx": "export",
    "onnxscript": "export",
    "onnxruntime": "deploy",
    "openvino": "openvino",
    "tensorrt": "tensorrt",
    "PIL": "data",
    "tensorboard": "train",
    "wandb": "wandb",
    "optuna": "automl",
    "torchao": "quantize",
    "torch_pruning": "prune",
    "deepspeed": "deepspeed",
    "matplotlib": "data",
    "pillow_heif": "heic",
    "pypdfium2": "pdf",
    "pycocotools": "coco",
    "starlette": "serve",
    "uvicorn": "serve",
    "python_multipart": "serve",
    "fsspec": "uri",
    "ray": "ray",
    "pyarrow": "ray",
}
_TOGETHER = ("train", "export", "automl")
"""Extras that are installed together: AutoML is the default route of a train request."""
_BASE = ("cv2", "jinja2", "jsonschema", "numpy", "pyclipper", "pydantic", "rich", "ruamel")


def skill_root() -> Path | None:
    """The skill's folder, symlinks resolved; None where ocdnet was installed as a package."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "SKILL.md").is_file() else None


def venv_dir() -> Path:
    """Folder of the skill's own environment, there or not; outside the skill: updates wipe that."""
    given = os.environ.get(VENV)
    if given:
        return Path(given).absolute()
    data = Path(os.environ.get("XDG_DATA_HOME", ""))
    if not data.is_absolute():
        data = Path(os.path.expanduser("~/.local/share"))  # noqa: PTH111 - Path's raises without a home
    return data.absolute() / "ocdnet" / "venv"


def cache_dir() -> Path:
    """What may be made anew, of this user: `ocdnet` in the user's cache, there or not."""
    home = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not home.is_absolute():
        home = Path(os.path.expanduser("~/.cache"))  # noqa: PTH111 - Path's raises without a home
    return home.absolute() / "ocdnet"


def venv_python() -> Path:
    """The interpreter of the skill's own environment, there or not."""
    return venv_dir() / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def has_venv() -> bool:
    """Whether the skill's own environment is there."""
    return os.path.isfile(venv_python())  # noqa: PTH113 - Path's raises where it may not look


def in_venv() -> bool:
    """Whether this process runs in the skill's own environment."""
    return Path(sys.prefix).resolve() == venv_dir().resolve()


def command(extra: str | None = "train") -> str:
    """The shell command that installs what is missing where this copy of ocdnet will look for it.

    A skill's copy has an environment of its own (`venv_dir`), made where it is not there yet.

    Args:
        extra: of the package, or several with commas; one of `train`, `export` and `automl` stands
            for all three. None: the skill's own copy alone, in place of one of another version.
    """
    extras = ",".join(_together(extra.split(","))) if extra else None
    wanted = f"[{extras}]" if extras else ""
    root = skill_root()
    if root is None or PROGRAM not in os.environ:
        return f'pip install "ocdnet{wanted}"'
    package = shlex.quote(f"{root}{wanted}")
    folder, own = shlex.quote(str(venv_dir())), shlex.quote(str(venv_python()))
    uv = uv_program()
    if uv:
        make = "" if has_venv() else f"{uv} venv --python '>=3.11' {folder} && "
        anew = "" if extras else "--reinstall-package ocdnet "  # else uv takes it to be up to date
        return f"{make}{uv} pip install --python {own} {anew}{package}"
    # An environment that uv made has no pip.
    make = f"{own} -m ensurepip" if has_venv() else f"{python()} -m venv {folder}"
    return f"{make} && {own} -m pip install {package}"


def _together(extras: list[str]) -> list[str]:
    others = [extra for extra in extras if extra not in _TOGETHER]
    return [*(_TOGETHER if len(others) < len(extras) else ()), *others]


def called() -> str:
    """The start of a command line that runs ocdnet, quoted for a shell.

    `ocdnet` where it is installed; where it runs from a skill's folder, what the launcher sets:
    `uv run --script /skill/scripts/ocdnet.py` or the like; else `python3 -m ocdnet` if that is
    how it was started.
    """
    started = getattr(sys.modules["__main__"], "__spec__", None)
    as_module = started is not None and started.name == "ocdnet.__main__"
    return os.environ.get(PROGRAM) or (f"{python()} -m ocdnet" if as_module else "ocdnet")


def program(script: str) -> str:
    """How to call a script of ours again from anywhere, quoted for a shell."""
    by_uv = uv_run(script) if "UV" in os.environ else None  # `uv run` sets it
    return by_uv or f"{python()} {shlex.quote(script)}"


def uv_run(script: str) -> str | None:
    """How to call a script of ours by uv, quoted for a shell; None where uv is not installed."""
    uv = uv_program()
    return f"{uv} run --script {shlex.quote(script)}" if uv else None


def uv_program() -> str | None:
    """How to call uv, quoted for a shell; None where it is not installed."""
    if shutil.which("uv"):
        return "uv"
    called = os.environ.get("UV", "")
    return shlex.quote(called) if os.path.isfile(called) else None  # noqa: PTH113 - may be no path


def python() -> str:
    """This interpreter, by its short name where that is the one on the PATH."""
    short = shutil.which("python3")
    same = short and os.path.dirname(short) == os.path.dirname(sys.executable)  # noqa: PTH120 - a link in another folder is another environment
    return "python3" if same else shlex.quote(sys.executable)


def require(module: str, says: str, extra: str) -> None:
    """Check that a package is installed, without importing it.

    Raises:
        EnvironmentFault: it is not; with the command that installs the extra.
    """
    if find_spec(module) is None:
        raise EnvironmentFault("missing-package", says, hint=command(extra))


def missing_package(error: ModuleNotFoundError, needed_by: str) -> EnvironmentFault | None:
    """The user's view of a failed import: None where the module is not one that we install.

    Args:
        error: what the import raised.
        needed_by: the command that needs it, as a sentence begins.
    """
    name = (error.name or "").partition(".")[0]
    extra = _EXTRA.get(name, "train" if name in _BASE else None)
    if extra is None:
        return None
    return EnvironmentFault(
        "missing-package", f"{needed_by} needs the package {name}", hint=command(extra)
    )
