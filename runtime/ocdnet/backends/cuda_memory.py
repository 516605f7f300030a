"""A GPU's memory for a TensorRT engine, through NVIDIA's cuda-bindings: no torch is needed."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocdnet import install
from ocdnet.errors import EnvironmentFault, RunError


def runtime() -> Any:
    """The module cuda.bindings.runtime, or EnvironmentFault with what installs it."""
    try:
        from cuda.bindings import runtime as cuda
    except ImportError as error:
        raise EnvironmentFault(
            "no-cuda-bindings",
            "The package cuda-bindings is not installed",
            hint=install.command("tensorrt"),
        ) from error
    return cuda


def select(index: int) -> None:
    """Make this GPU the one that CUDA works on.

    Raises:
        EnvironmentFault: there is no such GPU.
    """
    cuda = runtime()
    status, count = cuda.cudaGetDeviceCount()
    present = int(count or 0) if status == cuda.cudaError_t.cudaSuccess else 0
    if index >= present:
        raise EnvironmentFault(
            "no-such-gpu",
            "This machine does not have the GPU that TensorRT is to use",
            got=f"GPU {index}",
            expected=f"one of {present} CUDA device(s)",
            hint="An ONNX Runtime engine needs none: gen_trt_engine.backend=onnxruntime.",
        )
    checked(cuda.cudaSetDevice(index))


def checked(result: tuple[Any, ...]) -> Any:
    """What a CUDA call returned; RunError where it failed."""
    cuda = runtime()
    status, *values = result
    if status == cuda.cudaError_t.cudaSuccess:
        return values[0] if values else None
    _, text = cuda.cudaGetErrorString(status)
    reason = text.decode() if isinstance(text, bytes) else str(text)
    raise RunError("cuda", f"CUDA failed: {reason}", got=str(status))


class Buffers:
    """Input and output on the GPU, and the stream that fills, runs and reads them.

    Args:
        sizes: bytes of each buffer.
    """

    def __init__(self, *sizes: int) -> None:
        self.cuda = runtime()
        self.stream = checked(self.cuda.cudaStreamCreate())
        self.addresses: list[int] = [int(checked(self.cuda.cudaMalloc(size))) for size in sizes]

    def write(self, number: int, array: NDArray[np.float32]) -> None:
        """Copy an array into a buffer."""
        kind = self.cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(self.addresses[number], array.ctypes.data, array.nbytes, kind)

    def read(self, number: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """A buffer's first numbers, once the stream has done all before."""
        array = np.empty(shape, np.float32)
        kind = self.cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(array.ctypes.data, self.addresses[number], array.nbytes, kind)
        checked(self.cuda.cudaStreamSynchronize(self.stream))
        return array

    def close(self) -> None:
        """Give the memory back."""
        for address in self.addresses:
            self.cuda.cudaFree(address)
        self.addresses = []

    def _copy(self, to: int, source: int, size: int, kind: Any) -> None:
        checked(self.cuda.cudaMemcpyAsync(to, source, size, kind, self.stream))

    def __enter__(self) -> Buffers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
