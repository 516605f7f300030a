"""TensorRT and CUDA as far as ocdnet uses them, on the CPU: an engine is a profile and an ONNX.

What is here has the names and parameters of NVIDIA's bindings (test_tensorrt_surface.py), and
nothing else is: a call that they do not have fails here, too. Networks are run by ONNX Runtime.
"""

from __future__ import annotations

import ctypes
import enum
import json
import sys
import types
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime

MAGIC = b"fake plan\n"
Shape = Sequence[int]


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    def __init__(self) -> None:
        self.made = True

    def log(self, severity: ILogger.Severity, msg: str) -> None:
        raise NotImplementedError


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class BuilderFlag(enum.IntEnum):
    TF32 = 0


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class TensorIOMode(enum.IntEnum):
    INPUT = 1
    OUTPUT = 2


class DataType(enum.IntEnum):
    FLOAT = 0
    HALF = 1


class ITensor:
    def __init__(self, name: str) -> None:
        self.name = name


class INetworkDefinition:
    def __init__(self, flags: int) -> None:
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        self._model: Any = None

    def get_input(self, index: int) -> ITensor:
        return ITensor(self._model.graph.input[index].name)


class ParserError:
    def __init__(self, text: str) -> None:
        self._text = text

    def desc(self) -> str:
        return self._text


class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        assert logger.made  # a subclass must call ILogger.__init__
        self._network, self._errors = network, []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return ParserError(self._errors[index])

    def parse(self, model: bytes, path: str | None = None) -> bool:
        parsed = onnx.load_from_string(model)
        if any(node.domain not in ("", "ai.onnx") for node in parsed.graph.node):
            self._errors.append("No importer registered for op")
            return False
        self._network._model = parsed
        return True


class IOptimizationProfile:
    def __init__(self) -> None:
        self._shapes: dict[str, list[Shape]] = {}

    def set_shape(self, input: str, min: Shape, opt: Shape, max: Shape) -> None:
        self._shapes[input] = [min, opt, max]


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def serialize(self) -> bytes:
        return self._content


class IBuilderConfig:
    def __init__(self) -> None:
        self._flags, self._pools, self._profiles = {BuilderFlag.TF32}, {}, []
        self._cache: ITimingCache | None = None

    def clear_flag(self, flag: BuilderFlag) -> None:
        self._flags.discard(flag)

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self._pools[pool] = pool_size

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache._content and not cache._content.startswith(b"timings"):
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache:
        assert self._cache is not None
        return ITimingCache(self._cache._content or b"timings of this GPU")


class Builder:
    last: Any = None
    fails = False

    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        Builder.last = IBuilderConfig()
        return Builder.last

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> bytes | None:
        self._logger.log(ILogger.Severity.VERBOSE, "tactics are timed")
        if Builder.fails:
            self._logger.log(ILogger.Severity.ERROR, "no tactic fits in the workspace")
            return None
        (profile,) = config._profiles
        head = json.dumps({name: list(map(list, s)) for name, s in profile._shapes.items()})
        return MAGIC + head.encode() + b"\n" + network._model.SerializeToString()


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine, self._addresses = engine, {}
        self._fed: Shape = ()

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        least, _, most = self._engine.get_tensor_profile_shape(name, 0)
        fits = all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True))
        if fits:
            self._fed = shape
        return fits

    def get_tensor_shape(self, name: str) -> Shape:
        if name in self._engine._inputs:
            return self._fed
        return [self._fed[0], *self._engine.get_tensor_shape(name)[1:2], *self._fed[2:]]

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert set(self._addresses) == {*self._engine._inputs, *self._engine._outputs}
        (name,) = self._engine._inputs
        size = int(np.prod(self._fed))
        fed = np.ctypeslib.as_array(
            ctypes.cast(self._addresses[name], ctypes.POINTER(ctypes.c_float)), (size,)
        )
        maps = self._engine._session.run(None, {name: fed.reshape(tuple(self._fed))})
        for output, values in zip(self._engine._outputs, maps, strict=True):
            out = np.ascontiguousarray(values, np.float32)
            ctypes.memmove(self._addresses[output], out.ctypes.data, out.nbytes)
        return True


class ICudaEngine:
    def __init__(self, profile: dict[str, list[list[int]]], model: bytes) -> None:
        self._profile, self._session = profile, onnxruntime.InferenceSession(model)
        self._inputs = [value.name for value in self._session.get_inputs()]
        self._outputs = [value.name for value in self._session.get_outputs()]

    @property
    def num_io_tensors(self) -> int:
        return len(self._inputs) + len(self._outputs)

    def get_tensor_name(self, index: int) -> str:
        return [*self._inputs, *self._outputs][index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name: str) -> Shape:
        values = [*self._session.get_inputs(), *self._session.get_outputs()]
        shape = next(value.shape for value in values if value.name == name)
        return [side if isinstance(side, int) else -1 for side in shape]

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType.FLOAT

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Shape]:
        assert profile_index == 0
        return list(self._profile[name])

    def create_execution_context(self) -> IExecutionContext:
        return IExecutionContext(self)


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        if not serialized_engine.startswith(MAGIC):
            self._logger.log(ILogger.Severity.ERROR, "magicTag does not match")
            return None
        head, _, model = serialized_engine.removeprefix(MAGIC).partition(b"\n")
        return ICudaEngine(json.loads(head), model)


class cudaError_t(enum.IntEnum):  # noqa: N801 - NVIDIA's name
    cudaSuccess = 0  # noqa: N815
    cudaErrorMemoryAllocation = 2  # noqa: N815
    cudaErrorNoDevice = 100  # noqa: N815


class cudaMemcpyKind(enum.IntEnum):  # noqa: N801 - NVIDIA's name
    cudaMemcpyHostToDevice = 1  # noqa: N815
    cudaMemcpyDeviceToHost = 2  # noqa: N815


OK = cudaError_t.cudaSuccess
MEMORY: dict[int, Any] = {}
GPUS = [1]


def cudaGetDeviceCount() -> tuple[Any, int | None]:  # noqa: N802 - NVIDIA's name
    return (OK, GPUS[0]) if GPUS[0] else (cudaError_t.cudaErrorNoDevice, None)


def cudaSetDevice(device: int) -> tuple[Any]:  # noqa: N802 - NVIDIA's name
    assert device < GPUS[0]
    return (OK,)


def cudaStreamCreate() -> tuple[Any, int]:  # noqa: N802 - NVIDIA's name
    return OK, 7


def cudaStreamSynchronize(stream: int) -> tuple[Any]:  # noqa: N802 - NVIDIA's name
    assert stream == 7
    return (OK,)


def cudaMalloc(size: int) -> tuple[Any, int | None]:  # noqa: N802 - NVIDIA's name
    if size > 1 << 31:
        return cudaError_t.cudaErrorMemoryAllocation, None
    memory = ctypes.create_string_buffer(size)
    MEMORY[ctypes.addressof(memory)] = memory
    return OK, ctypes.addressof(memory)


def cudaFree(devPtr: int) -> tuple[Any]:  # noqa: N802, N803 - NVIDIA's names
    del MEMORY[devPtr]
    return (OK,)


def cudaMemcpyAsync(  # noqa: N802 - NVIDIA's name
    dst: int, src: int, count: int, kind: cudaMemcpyKind, stream: int
) -> tuple[Any]:
    on_gpu = dst if kind == cudaMemcpyKind.cudaMemcpyHostToDevice else src
    assert count <= len(MEMORY[on_gpu])
    ctypes.memmove(dst, src, count)
    return (OK,)


def cudaGetErrorString(error: cudaError_t) -> tuple[Any, bytes]:  # noqa: N802 - NVIDIA's name
    return OK, error.name.encode()


TENSORRT = {
    name: value
    for name, value in dict(globals()).items()
    if isinstance(value, type) and value.__module__ == __name__ and not name.startswith("cuda")
}
CUDA = {name: value for name, value in dict(globals()).items() if name.startswith("cuda")}


def install(patch: Any, version: str = "11.4.0.106", gpus: int = 1) -> None:
    """Put both in the place of NVIDIA's modules until the patch is undone."""
    tensorrt, runtime = types.ModuleType("tensorrt"), types.ModuleType("cuda.bindings.runtime")
    tensorrt.__dict__.update(TENSORRT, __version__=version)
    runtime.__dict__.update(CUDA)
    bindings, cuda = types.ModuleType("cuda.bindings"), types.ModuleType("cuda")
    bindings.runtime = runtime  # type: ignore[attr-defined]
    cuda.bindings = bindings  # type: ignore[attr-defined]
    for module in (tensorrt, cuda, bindings, runtime):
        patch.setitem(sys.modules, module.__name__, module)
    patch.setitem(globals(), "GPUS", [gpus])
    patch.setattr(Builder, "fails", False)
