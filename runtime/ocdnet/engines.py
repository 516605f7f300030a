"""What engines can be built for, and whether it is here: asked of the installation, not imported.

What plans and what builds follow the same rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from ocdnet import hardware, install

Kind = Literal["tensorrt", "onnxruntime", "openvino"]
"""A runtime that engines are built for."""
Backend = Kind | Literal["auto"]
"""What a spec asks for; auto: TensorRT where it works."""


@dataclass(frozen=True)
class Runtime:
    """What one is.

    Attributes:
        title: its name for people.
        modules: what it needs, as Python names it.
        extra: of the project, that installs it.
        gpu: whether it needs an NVIDIA GPU.
    """

    title: str
    modules: tuple[str, ...]
    extra: str
    gpu: bool = False


RUNTIMES: Mapping[Kind, Runtime] = {
    "tensorrt": Runtime("TensorRT", ("tensorrt", "cuda.bindings"), "tensorrt", gpu=True),
    "onnxruntime": Runtime("ONNX Runtime", ("onnxruntime",), "deploy"),
    "openvino": Runtime("OpenVINO", ("openvino",), "openvino"),
}


def chosen(backend: Backend, *, tensorrt: bool, gpu_id: int = 0) -> Kind | None:
    """The runtime that an engine is built for; None where what is asked for is not here.

    A GPU that is named must be used, as in every action; 0 is the default.

    Args:
        backend: gen_trt_engine.backend.
        tensorrt: whether TensorRT works here.
        gpu_id: gen_trt_engine.gpu_id.
    """
    match backend:
        case "onnxruntime" | "openvino":
            return backend
    if tensorrt:
        return "tensorrt"
    return None if backend == "tensorrt" or gpu_id else "onnxruntime"


def lacking(kind: Kind) -> list[str]:
    """What a runtime needs and is not here, for people; empty: all of it seems to be."""
    runtime = RUNTIMES[kind]
    absent = [f"no package {name.replace('.', '-')}" for name in runtime.modules if not _has(name)]
    return [*absent, *(["no NVIDIA GPU"] if runtime.gpu and not hardware.gpus() else [])]


def mend(kind: Kind) -> str:
    """The command that installs a runtime."""
    return install.command(RUNTIMES[kind].extra)


def has_cuda_provider() -> bool:
    """Whether the installed ONNX Runtime is one that computes on GPUs."""
    spec = find_spec("onnxruntime")
    places = (spec.submodule_search_locations or []) if spec else []
    library = "capi/*onnxruntime_providers_cuda*"
    return any(next(Path(place).glob(library), None) is not None for place in places)


def _has(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):  # of the package above it; a module without a spec
        return False
