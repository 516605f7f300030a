"""ONNX files and ONNX Runtime engines; needs no torch."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ocdnet import install
from ocdnet.backends.base import Batch, BatchSizes, filled, probabilities
from ocdnet.backends.sidecar import PAGE, Engine, Feeding, beside, read_foreign
from ocdnet.data.preprocess import Normalisation, Preprocess
from ocdnet.data.resizing import Room
from ocdnet.errors import DataError, EnvironmentFault
from ocdnet.ranks import cpus


class OnnxPredictor:
    """Predictor of an ONNX file: what `ocdnet export` wrote, an engine, or another trainer's.

    Args:
        path: the file.
        engine: of an engine, what the JSON file beside it says; not given: the ONNX file's own
            metadata, or the JSON file beside it, say how it is fed.

    Raises:
        EnvironmentFault: ONNX Runtime is not installed.
        DataError: absent, damaged, without its preprocessing, or no detector.
    """

    backend = "onnxruntime"

    def __init__(self, path: Path, engine: Engine | None = None) -> None:
        self.session = _session(path)
        given, self.outputs = self.session.get_inputs(), self.session.get_outputs()
        if len(given) != 1 or len(given[0].shape) != 4 or given[0].type != "tensor(float)":
            raise _no_detector(path, [(value.type, value.shape) for value in given])
        self.input = str(given[0].name)
        batch, channels, height, width = map(_fixed, given[0].shape)
        if channels not in (None, 3):
            raise _no_detector(path, [(given[0].type, given[0].shape)])
        self.size: tuple[int, int] | Room | None = (width, height) if width and height else None
        self.batch = BatchSizes(batch, batch, batch) if batch else None
        self.logits, self.output = False, str(self.outputs[0].name)
        self.img_mode: Any = None
        self.normalisation: Normalisation | None = None
        self.path = path
        if engine is not None:
            self.batch, self.size = engine.sizes, engine.size
            self._feed_as(engine.preprocess)
        else:
            self._feed_as_declared()

    def __call__(self, images: Batch) -> Batch:
        """float32[B, 3, H, W] -> probability float32[B, H, W]."""
        fed = filled(images, self.batch.min if self.batch else 1)
        maps = self.session.run([self.output], {self.input: fed})[0]
        if maps.ndim not in (3, 4) or maps.shape[-2:] != images.shape[-2:]:
            raise DataError(
                "no-probability-map",
                f"{self.path} does not return a map of its input's size",
                got=list(maps.shape),
                expected=[len(fed), 1, *images.shape[-2:]],
                hint=f"Name the right output in {beside(self.path)}; see {PAGE}.",
            )
        return probabilities(maps[: len(images)], self.logits)

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
        )

    def _feed_as(self, feeding: Feeding) -> None:
        self.img_mode, self.logits = feeding.img_mode, feeding.logits
        self.normalisation = Normalisation(feeding.mean, feeding.divisor)
        self.output = self._output(feeding.output)

    def _feed_as_declared(self) -> None:
        """Take from the file's metadata, else from the JSON file beside it, how it is fed."""
        metadata = self.session.get_modelmeta().custom_metadata_map
        foreign = None if Preprocess.is_in(metadata) else read_foreign(self.path)
        if foreign is not None:
            self.img_mode, self.logits = foreign.img_mode, foreign.logits
            self.normalisation = foreign.normalisation
            self.output = self._output(foreign.output)
            return
        preprocess = Preprocess.from_metadata(metadata)
        self.img_mode, self.normalisation = preprocess.img_mode, preprocess.normalisation

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

    graph = onnx.load(source)
    upsample_last(graph)
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    with tempfile.TemporaryDirectory() as folder:
        rewritten = Path(folder) / source.name
        onnx.save(graph, rewritten)
        _session(rewritten, options)


def _session(path: Path, options: Any = None) -> Any:
    ort = import_onnxruntime()
    from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

    if not path.is_file():
        raise DataError("no-model", f"There is no file {path}", got=str(path))
    options = options or ort.SessionOptions()
    options.intra_op_num_threads = cpus()
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(path, options, providers=_providers(ort))
    except (
        ort_errors.InvalidProtobuf,
        ort_errors.InvalidGraph,
        ort_errors.Fail,
        ort_errors.NotImplemented,
        ort_errors.NoSuchFile,
        ort_errors.InvalidArgument,  # an empty file
    ) as error:
        raise DataError(
            "bad-onnx",
            f"ONNX Runtime cannot load {path}",
            got=str(error).splitlines()[0][:200],
            expected="a file written by `ocdnet export`",
        ) from error


def _providers(ort: Any) -> list[str]:
    """CUDA where this ONNX Runtime has it, else the CPU."""
    available: list[str] = ort.get_available_providers()
    return [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in available]


def _fixed(side: Any) -> int | None:
    """A side of the input's shape; None where any length will do."""
    return side if isinstance(side, int) and side > 0 else None


def _no_detector(path: Path, got: Any) -> DataError:
    return DataError(
        "no-detector",
        f"{path} does not take a batch of images as its only input",
        got=[f"{kind} {list(shape)}" for kind, shape in got],
        expected="one input, float32[batch, 3, height, width]",
    )
