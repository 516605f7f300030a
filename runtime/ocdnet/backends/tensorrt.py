"""TensorRT engines: the one file that imports tensorrt, and only when it is used.

Networks are strongly typed: a layer's precision is what the ONNX says, so that the same build
serves TensorRT 10 and 11, the latter of which has no flags for FP16 and INT8.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ocdnet import install
from ocdnet.backends.base import Batch, BatchSizes, filled
from ocdnet.backends.cuda_memory import Buffers, select
from ocdnet.backends.maps import probability_maps, refused
from ocdnet.backends.sidecar import Engine, beside
from ocdnet.data.preprocess import Normalisation
from ocdnet.data.resizing import Room
from ocdnet.errors import DataError, EnvironmentFault, RunError
from ocdnet.files import replacing

LOG = logging.getLogger("ocdnet")
LEAST = (10, 0)
"""The first TensorRT that has all that is used here."""
LEAST_DEFORM = (10, 1)
"""The first whose ONNX parser knows DeformConv."""

_FLOAT32 = 4


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The engine that a build is to make, and its limits.

    Attributes:
        batch: batch sizes of the optimization profile.
        size: width and height that it is tuned for, in pixels.
        room: between which they may be.
        workspace: memory that the builder may use, in MiB; 0: TensorRT's own limit.
        timing_cache: file to read and write; None: none.
        verbose: log the builder's messages.
        gpu: index of the GPU.
    """

    batch: BatchSizes
    size: tuple[int, int]
    room: Room
    workspace: int = 0
    timing_cache: Path | None = None
    verbose: bool = False
    gpu: int = 0


def import_tensorrt(operators: Collection[str] = ()) -> Any:
    """The module tensorrt, new enough for a graph of these operators.

    Raises:
        EnvironmentFault: it is not installed, or too old; the least version is named.
    """
    try:
        import tensorrt
    except (ImportError, OSError) as error:  # OSError: its libraries are not there
        raise EnvironmentFault(
            "no-tensorrt",
            "TensorRT is not installed",
            got=str(error).splitlines()[0] if str(error) else None,
            hint=f"{install.command('tensorrt')} (it needs NVIDIA's package index), or build an "
            "engine for another runtime: gen_trt_engine.backend=onnxruntime.",
        ) from error
    version = str(tensorrt.__version__)
    least = LEAST_DEFORM if "DeformConv" in operators else LEAST
    if _release(version) < least:
        network = "a network with deformable convolutions" if least > LEAST else "this"
        raise EnvironmentFault(
            "old-tensorrt",
            f"TensorRT {version} cannot build {network}",
            got=version,
            expected=f"TensorRT {least[0]}.{least[1]} or newer",
            hint="Use a newer TensorRT (or container), or gen_trt_engine.backend=onnxruntime.",
        )
    return tensorrt


def build(source: Path, target: Path, plan: Plan, operators: Collection[str]) -> None:
    """Write the engine of an ONNX file to `target`.

    Args:
        source: ONNX in its final precision.
        target: file to write.
        plan: shapes and limits.
        operators: types of the ONNX file's nodes.

    Raises:
        EnvironmentFault: no TensorRT, too old a one, or no such GPU.
        DataError: TensorRT cannot read the ONNX.
        RunError: the build failed.
    """
    from ocdnet.onnx_file import load_whole

    trt = import_tensorrt(operators)
    select(plan.gpu)
    log = _log(trt, verbose=plan.verbose)
    builder = trt.Builder(log)
    flag = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flag)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(load_whole(source).SerializeToString()):
        errors = [parser.get_error(number).desc() for number in range(parser.num_errors)]
        raise DataError("bad-onnx", "TensorRT cannot read the ONNX file", got=errors[:3])
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # set by default: 10 bits of mantissa, not FP32
    if plan.workspace:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, plan.workspace << 20)
    profile = builder.create_optimization_profile()
    sizes = plan.room.least, plan.size, plan.room.most
    shapes = [
        (batch, 3, height, width) for batch, (width, height) in zip(plan.batch, sizes, strict=True)
    ]
    profile.set_shape(network.get_input(0).name, *shapes)
    config.add_optimization_profile(profile)
    if plan.timing_cache is not None:
        _use_timings(config, plan.timing_cache)
    LOG.info("TensorRT %s builds the engine: minutes.", trt.__version__)
    memory = builder.build_serialized_network(network, config)
    if memory is None:
        raise RunError(
            "build-failed",
            "TensorRT could not build the engine",
            got=log.errors[-3:] or None,
            hint="See the log (gen_trt_engine.verbose=true). Short of memory: lower "
            "gen_trt_engine.tensorrt.max_batch_size or workspace_size.",
        )
    target.write_bytes(memory)
    if plan.timing_cache is not None:
        with replacing(plan.timing_cache) as temporary:
            temporary.write_bytes(config.get_timing_cache().serialize())


class TensorRTPredictor:
    """Predictor of a TensorRT engine.

    Args:
        path: the engine file.
        engine: what the JSON file beside it says; None for an engine of TAO's own tools: size and
            batches are then the engine's, and its input is assumed to be made as TAO makes it.
        gpu: index of the GPU.

    Raises:
        EnvironmentFault: no TensorRT, or no such GPU.
        DataError: not an engine that this TensorRT and GPU can run, or no detector.
    """

    backend = "tensorrt"
    device_type = "cuda"

    def __init__(self, path: Path, engine: Engine | None, gpu: int = 0) -> None:
        self.trt = import_tensorrt()
        self.path, self.gpu = path, gpu
        select(gpu)
        log = self.log = _log(self.trt, verbose=False)
        self.runtime = self.trt.Runtime(log)  # an engine lives no longer than its runtime
        self.engine = self.runtime.deserialize_cuda_engine(path.read_bytes())
        if self.engine is None:
            raise _unusable(path, log.errors, str(self.trt.__version__))
        names = [self.engine.get_tensor_name(at) for at in range(self.engine.num_io_tensors)]
        inputs, outputs = self._of_mode(names, "INPUT"), self._of_mode(names, "OUTPUT")
        wanted = engine.preprocess.output if engine else outputs[0] if outputs else ""
        self._check_tensors(path, inputs, outputs, wanted)
        self.input, self.output, self.others = inputs[0], wanted, set(outputs) - {wanted}
        least, best, most = (
            tuple(shape) for shape in self.engine.get_tensor_profile_shape(self.input, 0)
        )
        self.batch = BatchSizes(least[0], best[0], most[0])
        room = Room((least[3], least[2]), (most[3], most[2]))
        self.size = room.most if room.least == room.most else room
        self.advised: tuple[int, int] | None = (best[3], best[2])
        self.img_mode: str | None = None
        self.normalisation: Normalisation | None = None
        self.logits, self.channel = False, None if engine is None else engine.preprocess.channel
        self.suggested = engine.suggests if engine else None
        if engine is None:
            LOG.warning(
                "%s has no %s: its input is assumed to be made as TAO makes it.", path, beside(path)
            )
        else:
            self.img_mode, self.normalisation = engine.preprocess.img_mode, engine.normalisation
            self.logits = engine.preprocess.logits
        self.context = self.engine.create_execution_context()
        self.buffers = self._buffers(most)
        self.lock = Lock()  # of the context and its memory

    def __call__(self, images: Batch) -> Batch:
        """float32[B, 3, H, W] -> probability float32[B, H, W]."""
        with self.lock:
            select(self.gpu)  # each thread has one of its own
            return self._computed(images)

    def _computed(self, images: Batch) -> Batch:
        fed = np.ascontiguousarray(filled(images, self.batch.min))
        if not self.context.set_input_shape(self.input, tuple(fed.shape)):
            raise DataError(
                "batch-above-profile",
                "The engine does not take such a batch",
                got=list(fed.shape),
                expected=f"{self.batch.min} to {self.batch.max} images of {self.size}",
            )
        self.buffers.write(0, fed)
        if not self.context.execute_async_v3(int(self.buffers.stream)):
            said = self.log.errors[-1:] or ["TensorRT could not run the engine"]
            raise refused(self.path, fed, RuntimeError(said[0]))
        shape = tuple(self.context.get_tensor_shape(self.output))
        answer = self.buffers.read(1, shape)
        logits, channel = self.logits, self.channel
        maps = probability_maps(answer, fed, self.path, logits=logits, channel=channel)
        return maps[: len(images)]

    def _buffers(self, most: tuple[int, ...]) -> Buffers:
        """Memory for the largest batch, also of outputs that are not read: TensorRT writes them."""
        self.context.set_input_shape(self.input, most)
        names = [self.input, self.output, *sorted(self.others)]
        sizes = [_FLOAT32 * prod(self.context.get_tensor_shape(name)) for name in names]
        buffers = Buffers(*sizes)
        for name, address in zip(names, buffers.addresses, strict=True):
            self.context.set_tensor_address(name, address)
        return buffers

    def _of_mode(self, names: list[str], mode: str) -> list[str]:
        wanted = getattr(self.trt.TensorIOMode, mode)
        return [name for name in names if self.engine.get_tensor_mode(name) == wanted]

    def _check_tensors(
        self, path: Path, inputs: list[str], outputs: list[str], wanted: str
    ) -> None:
        shapes = {name: tuple(self.engine.get_tensor_shape(name)) for name in (*inputs, *outputs)}
        typed = [self.engine.get_tensor_dtype(name) == self.trt.DataType.FLOAT for name in shapes]
        takes_images = len(inputs) == 1 and len(shapes[inputs[0]]) == 4
        if not (takes_images and wanted in outputs and all(typed)):
            raise DataError(
                "no-detector",
                f"{path} is no detector's engine",
                got={name: list(shape) for name, shape in shapes.items()},
                expected="one input float32[batch, 3, height, width] and an output "
                f"{wanted or 'of probabilities'}",
            )


def _use_timings(config: Any, path: Path) -> None:
    """Start from the timings of earlier builds, if they are of this GPU and TensorRT."""
    known = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(known)
    if cache is None or not config.set_timing_cache(cache, False):
        LOG.warning("%s holds timings of another GPU or TensorRT: it is started anew.", path)
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _log(trt: Any, *, verbose: bool) -> Any:
    """TensorRT's messages in our log: its own logger would print them to stdout."""
    levels = (logging.ERROR, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)

    class Log(trt.ILogger):
        """Also keeps the errors, for ours."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            """Called by TensorRT."""
            level = levels[min(int(severity), len(levels) - 1)]
            if level == logging.ERROR:
                self.errors.append(msg)
            if verbose or level >= logging.WARNING:
                LOG.log(max(level, logging.INFO), "TensorRT: %s", msg)

    return Log()


def _release(version: str) -> tuple[int, int]:
    """Major and minor version."""
    major, minor = (*version.split("."), "0")[:2]
    return int(major), int(minor)


def _unusable(path: Path, errors: list[str], version: str) -> DataError:
    return DataError(
        "bad-engine",
        f"TensorRT {version} cannot use {path}",
        got=errors[-1] if errors else None,
        expected="an engine built by this TensorRT version for this kind of GPU",
        hint="Build it here with `ocdnet gen_trt_engine`.",
    )
