"""What a plan says of what will compute: the runtime of an engine, and what quantize gains."""

from __future__ import annotations

from ocdnet import engines, hardware
from ocdnet.launch.platforms import LOCAL, PLATFORMS
from ocdnet.launch.tao_image import asks_for_fp8
from ocdnet.policy.case import Case
from ocdnet.policy.draft import Draft
from ocdnet.spec_keys import (
    ENGINE_BACKEND,
    QUANTIZE_BACKEND,
    QUANTIZE_LAYERS,
    QUANTIZE_MODE,
    engine_wins,
)
from ocdnet.tree.nodes import MISSING


def tell_of_runtimes(case: Case, draft: Draft) -> None:
    """Warn of what the job will be built for, or not gain, on this machine; of others none knows.

    Args:
        case: whose notes are told.
        draft: the spec.
    """
    if draft.at(QUANTIZE_BACKEND):
        _quantized(case, draft)
    if case.request.platform == LOCAL and case.entry.makes == "engine":
        _built(case, draft)
    engine = f"{case.run.section}.trt_engine"
    model = draft.at(case.entry.model or "")
    if case.entry.model != engine and draft.value(engine) and model not in (None, "", MISSING):
        case.notes.warn(engine_wins(engine, str(case.entry.model)) + ".", engine)


def _quantized(case: Case, draft: Draft) -> None:
    notes, backend = case.notes, draft.at(QUANTIZE_BACKEND)
    if asks_for_fp8(draft.tree) and not PLATFORMS[case.request.platform].tao:
        notes.warn(
            "fp8 is not made by this runtime: the run will be refused (exit 5). NVIDIA's image "
            "makes it (--platform tao-docker); here the dtype can be int8.",
            QUANTIZE_LAYERS,
        )
    if backend == "torchao" and draft.at(QUANTIZE_MODE) == "static_ptq":
        notes.warn(
            "torchao does not quantize activations (static_ptq): the run will be refused. "
            "quantize.backend=modelopt.onnx does, in an exported ONNX file.",
            QUANTIZE_MODE,
        )
    if case.request.platform == LOCAL and not hardware.gpus():
        notes.warn(
            "There is no GPU here, and on a CPU what quantize writes is not the fastest: an INT8 "
            "engine of the exported float ONNX is. "
            f"`{case.program} plan --action gen_trt_engine --precision int8 --parent RESULTS "
            "--calibration-dataset FOLDER` (gen_trt_engine.backend: openvino or onnxruntime).",
            QUANTIZE_BACKEND,
        )


def _built(case: Case, draft: Draft) -> None:
    backend: engines.Backend = draft.at(ENGINE_BACKEND) or "auto"
    gpu = draft.at("gen_trt_engine.gpu_id") or 0
    absent = engines.lacking("tensorrt")
    kind = engines.chosen(backend, tensorrt=not absent, gpu_id=gpu)
    if kind is None:
        asked = ENGINE_BACKEND if backend == "tensorrt" else "gen_trt_engine.gpu_id"
        _refused(case, "tensorrt", asked)
    elif engines.lacking(kind):
        _refused(case, kind, ENGINE_BACKEND)
    elif backend == "auto" and absent:
        case.notes.warn(
            f"TensorRT is not here ({', '.join(absent)}): the engine will be built for "
            f"{engines.RUNTIMES[kind].title}, and TensorRT will not run it; "
            f"{ENGINE_BACKEND}=openvino may be faster on a CPU.",
            ENGINE_BACKEND,
        )


def _refused(case: Case, kind: engines.Kind, asked: str) -> None:
    """Warn that the build will fail on this machine as it is."""
    title, absent = engines.RUNTIMES[kind].title, engines.lacking(kind)
    case.notes.warn(
        f"{asked} asks for {title}, which is not here ({', '.join(absent)}): the build will fail. "
        f"To install it: {engines.mend(kind)}",
        asked,
    )
