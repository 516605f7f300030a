"""ONNX files and ONNX Runtime engines; needs no torch."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ocdnet import install
from ocdnet.backends.base import Batch, BatchSizes, filled
from ocdnet.backends.int8 import note_overflow, onnx_weights, operators_in
from ocdnet.backends.maps import probability_maps, refused
from ocdnet.backends.sidecar import Engine, Feeding, beside, read_foreign
from ocdnet.data.preprocess import Normalisation, Preprocess
from ocdnet.data.resizing import Room
from ocdnet.errors import DataError, EnvironmentFault, out_of_memory
from ocdnet.hardware import cpus
from ocdnet.spec_keys import STRIDE
from ocdnet.zoo.registry import Suggested


class OnnxPredictor:
    """Predictor of an ONNX file: what `ocdnet export` wrote, an engine, or another trainer's.

    Args:
        path: the file.
        engine: of an engine, what the JSON file beside it says; not given: the ONNX file's own
            metadata, or the JSON file beside it, say how it is fed.
        gpu: index of the GPU, where this ONNX Runtime uses one; None: compute on the CPU.

    Raises:
        EnvironmentFault: ONNX Runtime is not installed.
        DataError: absent, damaged, without its preprocessing, or no detector.
    """

    backend = "onnxruntime"

    def __init__(self, path: Path, engine: Engine | None = None, *, gpu: int | None = 0) -> None:
        self.session = _session(path, gpu=gpu)
        self.device_type = "cuda" if "CUDA" in self.session.get_providers()[0] else "cpu"
        given, self.outputs = self.session.get_inputs(), self.session.get_outputs()
        self.input, (batch, height, width) = _image_input(path, given)
        if not self.outputs:
            raise DataError(
                "no-detector", f"{path} has no output", expected="an output of probabilities"
            )
        self.size: tuple[int, int] | Room | None = (width, height) if width and height else None
        self.batch = BatchSizes(batch, batch, batch) if batch else None
        self.logits, self.output = False, str(self.outputs[0].name)
        self.channel: int | None = None
        self.img_mode: Any = None
        self.normalisation: Normalisation | None = None
        self.advised: tuple[int, int] | None = None
        self.suggested: Suggested | None = None
        self.path = path
        if engine is not None:
            self.batch, self.size = engine.sizes, engine.size
            self.advised = engine.width, engine.height
            self.suggested = engine.suggests
            self._feed_as(engine.preprocess)
        else:
            self._feed_as_declared()
        if self.device_type == "cpu":
            note_overflow(path, onnx_weights(path))

    def __call__(self, images: Batch) -> Batch:
        """float32[B, 3, H, W] -> probability float32[B, H, W]."""
        fed = filled(images, self.batch.min if self.batch else 1)
        try:
            answer = self.session.run([self.output], {self.input: fed})[0]
        except _errors() as error:
            raise refused(self.path, fed, error) from error
        logits, channel = self.logits, self.channel
        maps = probability_maps(answer, fed, self.path, logits=logits, channel=channel)
        return maps[: len(images)]

    def feeding(self) -> Feeding:
        """How its input is made and its output read, for the JSON file of an engine."""
        how = self.normalisation or Normalisation()
        mean, divisor = (tuple(map(float, numbers)) for numbers in (how.mean, how.divisor))
        return Feeding(
            img_mode=self.img_mode,
            mean=mean,
            divisor=divisor,
            output=self.output,
            logits=self.logits,
            channel=self.channel,
        )

    def _feed_as(self, feeding: Feeding) -> None:
        self.img_mode, self.logits = feeding.img_mode, feeding.logits
        self.channel = feeding.channel
        self.normalisation = Normalisation(feeding.mean, feeding.divisor)
        self.output = self._output(feeding.output)

    def _feed_as_declared(self) -> None:
        """Take from the file's metadata, else from the JSON file beside it, how it is fed."""
        metadata = self.session.get_modelmeta().custom_metadata_map
        foreign = None if Preprocess.is_in(metadata) else read_foreign(self.path)
        if foreign is not None:
            self.img_mode, self.logits = foreign.img_mode, foreign.logits
            self.channel = foreign.channel
            self.normalisation = foreign.normalisation
            self.output = self._output(foreign.output)
            return
        preprocess = Preprocess.from_metadata(metadata)
        self.img_mode, self.normalisation = preprocess.img_mode, preprocess.normalisation
        if isinstance(preprocess.size, tuple):
            self.advised = preprocess.size
            self.suggested = Suggested.of_metadata(metadata, preprocess.size)

    def _output(self, wanted: str | int) -> str:
        names = [str(output.name) for output in self.outputs]
        if wanted in names:
            return str(wanted)
        if isinstance(wanted, int) and 0 <= wanted < len(names):
            return names[wanted]
        raise DataError(
            "no-such-output",
            f"{self.path} has not the output that {beside(self.path)} names",
            got=wanted,
            expected=names,
        )


def import_onnxruntime() -> Any:
    """ONNX Runtime's module, or EnvironmentFault with what installs it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise EnvironmentFault(
            "no-onnxruntime",
            "ONNX Runtime is not installed",
            hint=install.command("deploy"),
        ) from error
    return onnxruntime


def optimise(source: Path, target: Path) -> None:
    """Write a graph with the simplifications that help on every machine.

    These are: constants folded, idle nodes dropped, upsampling at the end. Those for one kind of
    processor are left to ONNX Runtime, each time it loads the engine.

    Raises:
        DataError: ONNX Runtime cannot load it.
    """
    import onnx

    from ocdnet.backends.rewriting import upsample_last
    from ocdnet.onnx_file import load_whole

    graph = load_whole(source)
    upsample_last(graph)
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    with tempfile.TemporaryDirectory() as folder:
        rewritten = Path(folder) / source.name
        onnx.save(graph, rewritten)
        try:
            _session(rewritten, options)
        except DataError as error:
            # It does not say why it could not write.
            if shutil.disk_usage(target.parent).free < rewritten.stat().st_size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from error
            raise


def _session(path: Path, options: Any = None, *, gpu: int | None = 0) -> Any:
    ort = import_onnxruntime()
    if not path.is_file():
        raise DataError("no-model", f"There is no file {path}", got=str(path))
    options = options or ort.SessionOptions()
    options.intra_op_num_threads = cpus()
    options.log_severity_level = 3
    if _is_packed(path):  # else its weights become float anew each time, and nothing is fused
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        return ort.InferenceSession(path, options, providers=providers(ort, gpu))
    except _errors() as error:
        if out_of_memory(error):
            raise
        raise DataError(
            "bad-onnx",
            f"ONNX Runtime cannot load {path}",
            got=str(error).splitlines()[0][:200],
            expected="a file written by `ocdnet export`",
        ) from error


def _is_packed(path: Path) -> bool:
    """`onnx_file.is_packed` without ONNX, by the names of its operators."""
    names = "DequantizeLinear", "QuantizeLinear"
    return operators_in(path, names) == {"DequantizeLinear"}


def _errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: classes of its own, and Python's for what it cannot convert."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [kind for kind in vars(state).values() if isinstance(kind, type)]
    errors = (kind for kind in own if issubclass(kind, Exception))
    return (*errors, RuntimeError, TypeError, ValueError)


def _image_input(path: Path, given: Any) -> tuple[str, tuple[int | None, ...]]:
    """Name of the only input, and its batch, height and width where they are fixed.

    Raises:
        DataError: it takes something other than images.
    """
    shapes = [(str(value.type), list(value.shape or ())) for value in given]
    if len(shapes) != 1 or shapes[0][0] != "tensor(float)" or len(shapes[0][1]) != 4:
        raise _no_detector(path, shapes)
    batch, channels, height, width = map(_fixed, shapes[0][1])
    if channels != 3 and width == 3:
        raise _no_detector(path, shapes, "Its images have the channels last: convert it to NCHW.")
    if channels not in (None, 3):
        raise _no_detector(path, shapes)
    if any(side is not None and side % STRIDE for side in (height, width)):
        raise DataError(
            "no-multiple",
            f"{path} takes images of one size only, which is no multiple of {STRIDE}",
            got=f"width {width or 'any'}, height {height or 'any'}",
            expected=f"sides that are multiples of {STRIDE}",
            hint="Export it again, with such a size or a dynamic one.",
        )
    return str(given[0].name), (batch, height, width)


def providers(ort: Any, gpu: int | None) -> list[str | tuple[str, dict[str, int]]]:
    """CUDA on a GPU, where this ONNX Runtime has it and one is to be used; else the CPU."""
    cpu = "CPUExecutionProvider"
    if gpu is None or "CUDAExecutionProvider" not in ort.get_available_providers():
        return [cpu]
    return [("CUDAExecutionProvider", {"device_id": gpu}), cpu]


def _fixed(side: Any) -> int | None:
    """A side of the input's shape; None where any length will do."""
    return side if isinstance(side, int) and side > 0 else None


def _no_detector(path: Path, got: Any, hint: str | None = None) -> DataError:
    return DataError(
        "no-detector",
        f"{path} does not take a batch of images as its only input",
        got=[f"{kind} {list(shape)}" for kind, shape in got],
        expected="one input, float32[batch, 3, height, width]",
        hint=hint,
    )
