"""OpenVINO engines: its intermediate representation, for Intel processors and others.

An engine is one file: a ZIP archive, not compressed, of `model.xml` and `model.bin`.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ocdnet import install
from ocdnet.backends.base import Batch, filled
from ocdnet.backends.int8 import note_overflow, openvino_weights
from ocdnet.backends.maps import probability_maps, refused
from ocdnet.backends.sidecar import Engine
from ocdnet.errors import DataError, EnvironmentFault
from ocdnet.hardware import cpus

_XML, _BIN = "model.xml", "model.bin"


def import_openvino() -> Any:
    """The module openvino, or EnvironmentFault with what installs it."""
    try:
        import openvino
    except ImportError as error:
        raise EnvironmentFault(
            "no-openvino", "OpenVINO is not installed", hint=install.command("openvino")
        ) from error
    return openvino


def build(source: Path, target: Path) -> None:
    """Write the engine of an ONNX file to `target`, its weights in the ONNX file's precision.

    Raises:
        EnvironmentFault: no OpenVINO.
        DataError: OpenVINO cannot read the ONNX.
    """
    ov = import_openvino()
    from ocdnet.backends.rewriting import quantize_behind, quantize_once, upsample_last
    from ocdnet.onnx_file import load_whole

    core = ov.Core()
    core.add_extension(_deform_conv())
    graph = load_whole(source)
    upsample_last(graph)
    quantize_behind(graph)
    quantize_once(graph)
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder) / _XML
        try:
            model = core.read_model(graph.SerializeToString())
            ov.save_model(model, xml, compress_to_fp16=False)
        except RuntimeError as error:
            raise _unreadable("bad-onnx", "OpenVINO cannot read the ONNX file", error) from error
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            archive.write(xml, _XML)
            archive.write(xml.with_suffix(".bin"), _BIN)


class OpenVinoPredictor:
    """Predictor of an OpenVINO engine.

    Args:
        path: the engine file.
        engine: what the file beside it says.

    Raises:
        EnvironmentFault: no OpenVINO.
        DataError: no engine that it can read.
    """

    backend = "openvino"
    device_type = "cpu"

    def __init__(self, path: Path, engine: Engine) -> None:
        ov = import_openvino()
        core = ov.Core()
        self.path = path
        # Left to itself OpenVINO computes in bfloat16 where the processor can.
        exact = {} if engine.precision == "FP16" else {"INFERENCE_PRECISION_HINT": "f32"}
        options = {"INFERENCE_NUM_THREADS": cpus(), **exact}
        xml, weights = _read(path)
        try:
            model = core.read_model(xml, ov.Tensor(weights))
            note_overflow(path, openvino_weights(model))
            self.model = core.compile_model(model, "CPU", options)
            self.output = self.model.output(engine.preprocess.output)
        except RuntimeError as error:
            raise _unreadable("bad-engine", f"OpenVINO cannot use {path}", error) from error
        self.img_mode: str | None = engine.preprocess.img_mode
        self.normalisation = engine.normalisation
        self.size, self.advised = engine.size, (engine.width, engine.height)
        self.batch, self.suggested = engine.sizes, engine.suggests
        self.feeding = engine.preprocess
        self.lock = Lock()  # a compiled model has one request, which it fills and reads

    def __call__(self, images: Batch) -> Batch:
        """float32[B, 3, H, W] -> probability float32[B, H, W]."""
        fed = filled(images, self.batch.min)
        try:
            with self.lock:
                answer = self.model(fed)[self.output]
        except RuntimeError as error:
            raise refused(self.path, fed, error) from error
        logits, channel = self.feeding.logits, self.feeding.channel
        maps = probability_maps(answer, fed, self.path, logits=logits, channel=channel)
        return maps[: len(images)]


def _read(path: Path) -> tuple[bytes, np.ndarray[Any, np.dtype[np.uint8]]]:
    try:
        with zipfile.ZipFile(path) as archive:
            stored = [archive.getinfo(name).compress_type for name in (_XML, _BIN)]
            if any(kind != zipfile.ZIP_STORED for kind in stored):  # it might grow without bounds
                raise zipfile.BadZipFile("compressed")
            return archive.read(_XML), np.frombuffer(archive.read(_BIN), np.uint8)
    except (zipfile.BadZipFile, KeyError, OSError, RuntimeError) as error:
        raise _unreadable("bad-engine", f"{path} is no OpenVINO engine", error) from error


def _deform_conv() -> Any:
    """Reads ONNX's DeformConv, which OpenVINO does not know, as OpenVINO's own operator."""
    from openvino import opset8
    from openvino.frontend.onnx import ConversionExtension

    def convert(node: Any) -> list[Any]:
        image, weight, offset, *more = (node.get_input(n) for n in range(node.get_input_size()))
        spatial = 2

        def attribute(name: str, default: Any) -> Any:
            return node.get_attribute(name) if node.has_attribute(name) else default

        pads = list(attribute("pads", [0] * 2 * spatial))
        out = opset8.deformable_convolution(
            image,
            offset,
            weight,
            list(attribute("strides", [1] * spatial)),
            pads[:spatial],
            pads[spatial:],
            list(attribute("dilations", [1] * spatial)),
            *more[1:],
            group=attribute("group", 1),
            deformable_group=attribute("offset_group", 1),
            bilinear_interpolation_pad=True,
        )
        if not more:
            return [out.output(0)]
        bias = opset8.reshape(more[0], opset8.constant(np.array([1, -1, 1, 1])), False)
        return [opset8.add(out, bias).output(0)]

    return ConversionExtension("DeformConv", convert)


def _unreadable(code: str, message: str, error: BaseException) -> DataError:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return DataError(
        code,
        message,
        got=lines[-1][:200] if lines else type(error).__name__,
        hint="gen_trt_engine.backend=onnxruntime reads more graphs."
        if code == "bad-onnx"
        else "Build it again with `ocdnet gen_trt_engine`.",
    )
