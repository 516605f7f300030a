"""Which runtime an engine is built for, and the build."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from ocdnet.actions.engine_source import Source
from ocdnet.backends import cuda_memory, onnx, openvino, tensorrt
from ocdnet.config.gen_trt_engine import GenTrtEngineConfig
from ocdnet.data.resizing import Room
from ocdnet.engines import RUNTIMES, Kind, chosen
from ocdnet.errors import EnvironmentFault
from ocdnet.version import VERSION

LOG = logging.getLogger("ocdnet")
NOTES = {
    "tensorrt": "A TensorRT engine, for this TensorRT and this kind of GPU.",
    "onnxruntime": "An ONNX Runtime engine, not a TensorRT engine: only this program and ONNX "
    "Runtime run it.",
    "openvino": "An OpenVINO engine, not a TensorRT engine: only this program and OpenVINO run it.",
}
_PACKAGES = {
    "tensorrt": ("tensorrt", "onnx"),
    "onnxruntime": ("onnxruntime", "onnx"),
    "openvino": ("openvino", "onnx"),
}


@dataclass(frozen=True)
class Choice:
    """What an engine is built for.

    Attributes:
        kind: the runtime.
        why: one sentence.
    """

    kind: Kind
    why: str


def choose(config: GenTrtEngineConfig, operators: Collection[str]) -> Choice:
    """The runtime that the spec asks for, or the first that works here.

    Raises:
        EnvironmentFault: the runtime or the GPU that is asked for is missing, or the runtime is too
            old for the graph.
    """
    kind = chosen(config.backend, tensorrt=True)
    if kind == "openvino":
        openvino.import_openvino()
    if kind is not None and kind != "tensorrt":
        return Choice(kind, "gen_trt_engine.backend asks for it.")
    try:
        tensorrt.import_tensorrt(operators)
        cuda_memory.select(config.gpu_id)
    except EnvironmentFault as fault:
        kind = chosen(config.backend, tensorrt=False, gpu_id=config.gpu_id)
        if kind is None:
            raise
        why = f"TensorRT does not work here: {fault.message}."
        LOG.warning("%s An engine for %s is built instead.", why, RUNTIMES[kind].title)
        return Choice(kind, why)
    asked = config.backend == "tensorrt"
    return Choice(
        "tensorrt",
        "gen_trt_engine.backend asks for it." if asked else "TensorRT and a GPU are here.",
    )


def without_effect(config: GenTrtEngineConfig, kind: Kind) -> list[str]:
    """Keys that were set, but have an effect on TensorRT engines only; warns of them."""
    if kind == "tensorrt":
        return []
    engine = config.tensorrt
    given = {
        "gen_trt_engine.timing_cache": bool(config.timing_cache),
        "gen_trt_engine.tensorrt.workspace_size": engine.workspace_size != 1024,
        "gen_trt_engine.gpu_id": config.gpu_id != 0,
    }
    named = [key for key, was_set in given.items() if was_set]
    if named:
        LOG.warning("Without effect on an %s engine: %s.", kind, ", ".join(named))
    return named


def build(
    kind: Kind, precise: Path, target: Path, config: GenTrtEngineConfig, source: Source
) -> None:
    """Build an engine and write it.

    Args:
        kind: the runtime to build for.
        precise: an ONNX file that is in the engine's precision already.
        target: where to write.
        config: the section.
        source: the ONNX file that `precise` was made from.

    Raises:
        UserError: the runtime cannot build it.
    """
    if kind == "onnxruntime":
        onnx.optimise(precise, target)
    elif kind == "openvino":
        openvino.build(precise, target)
    else:
        plan = tensorrt.Plan(
            batch=source.batch,
            size=(config.width, config.height),
            room=Room(config.least, config.most),
            workspace=config.tensorrt.workspace_size,
            timing_cache=Path(config.timing_cache) if config.timing_cache else None,
            verbose=config.verbose,
            gpu=config.gpu_id,
        )
        tensorrt.build(precise, target, plan, source.operators)


def versions(kind: Kind) -> dict[str, str]:
    """Versions of this program and of the packages that build for a runtime."""
    # From the modules: TensorRT's packages have several names, and containers lack their metadata.
    built_by = {name: str(import_module(name).__version__) for name in _PACKAGES[kind]}
    return {"ocdnet": VERSION, **built_by}
