"""Section `gen_trt_engine`: building a TensorRT engine from ONNX."""

from collections.abc import Iterator
from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from ocdnet.config.base import STRICT, GpuId, ImgMode, Positive, Side, depends_on, extra, popular
from ocdnet.config.rules import Is, Needed, Never, NoArchive
from ocdnet.spec_keys import ENGINE_CACHE, ENGINE_IMAGES, ENGINE_PRECISION
from ocdnet.tree.nodes import MISSING
from ocdnet.tree.problems import Problem, SpecFieldError

_INT8_ONLY = depends_on(ENGINE_PRECISION)


@dataclass(config=STRICT, kw_only=True)
class Calibration:
    """INT8 calibration."""

    cal_image_dir: Annotated[list[str], _INT8_ONLY, popular] = field(default_factory=list)
    """Folders of calibration images (INT8 only)."""

    cal_cache_file: Annotated[str, _INT8_ONLY] = MISSING
    """Calibration cache to write, or to use where it is there (INT8 only)."""

    cal_batch_size: Annotated[Positive, _INT8_ONLY, popular] = 1
    """Images a calibration batch."""

    cal_batches: Annotated[Positive, _INT8_ONLY, popular] = 1
    """Batches to calibrate on."""


@dataclass(config=STRICT, kw_only=True)
class TensorRT:
    """Options of the engine."""

    data_type: Annotated[Literal["FP32", "FP16", "INT8"], popular] = "FP32"
    """Number format of the engine."""

    workspace_size: Annotated[int, Field(ge=0)] = 1024
    """Memory the builder may use, in MiB."""

    min_batch_size: Annotated[Positive, popular] = 1
    """Smallest batch the engine takes."""

    opt_batch_size: Annotated[Positive, popular] = 1
    """Batch the engine is tuned for."""

    max_batch_size: Annotated[Positive, popular] = 1
    """Largest batch the engine takes."""

    layers_precision: list[str] = field(default_factory=list)
    """Number formats of single layers, as layer:format; * in a name stands for anything."""

    calibration: Calibration = field(default_factory=Calibration)


@dataclass(config=STRICT, kw_only=True)
class GenTrtEngineConfig:
    """Engine generation: TensorRT's, or another runtime's where there is no GPU."""

    onnx_file: str = MISSING
    """ONNX file that export wrote."""

    trt_engine: str = MISSING
    """Engine file to write."""

    results_dir: str = ""
    """Folder of this action's results, instead of <results_dir>/gen_trt_engine."""

    width: Annotated[Side, depends_on, popular] = 1280
    """Width of the network input, in pixels."""

    height: Annotated[Side, depends_on, popular] = 736
    """Height of the network input, in pixels."""

    min_size: Annotated[list[Side], Field(max_length=2), extra] = field(default_factory=list)
    """Least [width, height], of a file exported with a dynamic size; empty: width and height."""

    max_size: Annotated[list[Side], Field(max_length=2), extra] = field(default_factory=list)
    """Largest [width, height], likewise."""

    img_mode: ImgMode = "BGR"
    """Channel order that calibration images are read in."""

    batch_size: Annotated[int, Field(ge=-1), popular] = -1
    """Fixed batch size of the ONNX file; -1: dynamic."""

    gpu_id: Annotated[GpuId, popular] = 0
    """Index of the GPU."""

    timing_cache: str = ""
    """Timing cache to read and write."""

    verbose: bool = False
    """Log the builder's messages."""

    backend: Annotated[Literal["auto", "tensorrt", "onnxruntime", "openvino"], extra, popular] = (
        "auto"
    )
    """What the engine is built for; auto: TensorRT where it works here, else ONNX Runtime."""

    tensorrt: TensorRT = field(default_factory=TensorRT)

    @property
    def least(self) -> tuple[int, int]:
        """Smallest width and height of the engine."""
        return (self.min_size[0], self.min_size[1]) if self.min_size else (self.width, self.height)

    @property
    def most(self) -> tuple[int, int]:
        """Largest width and height of the engine."""
        return (self.max_size[0], self.max_size[1]) if self.max_size else (self.width, self.height)

    def problems(self) -> Iterator[Problem]:
        """Batch sizes or image sizes out of order."""
        for key, given in (("min_size", self.min_size), ("max_size", self.max_size)):
            if len(given) == 1:
                yield SpecFieldError(
                    "bad-value",
                    f"gen_trt_engine.{key}",
                    f"'gen_trt_engine.{key}' is not a size",
                    got=given,
                    expected="[width, height]",
                )
                return
        ranges = zip(self.least, (self.width, self.height), self.most, strict=True)
        if any(list(sides) != sorted(sides) for sides in ranges):
            yield SpecFieldError(
                "conflict",
                "gen_trt_engine.max_size",
                "'gen_trt_engine.max_size', width and height, and min_size are out of order",
                got=[list(self.least), [self.width, self.height], list(self.most)],
                expected="min_size <= [width, height] <= max_size",
            )
        engine = self.tensorrt
        sizes = [engine.min_batch_size, engine.opt_batch_size, engine.max_batch_size]
        if sizes != sorted(sizes):
            yield SpecFieldError(
                "conflict",
                "gen_trt_engine.tensorrt.opt_batch_size",
                "'gen_trt_engine.tensorrt.opt_batch_size' is out of order",
                got=sizes,
                expected="min_batch_size <= opt_batch_size <= max_batch_size",
            )


_INT8 = Is(ENGINE_PRECISION, "INT8")

RULES = (
    Needed(ENGINE_IMAGES, "INT8", "[/path/to/img]", when=_INT8),
    Needed(ENGINE_CACHE, "INT8", "/path/to/cal.bin", when=_INT8),
    Never(
        "gen_trt_engine.batch_size",
        0,
        "out-of-range",
        "is out of range",
        "-1 (dynamic), or 1 and above",
    ),
    NoArchive(ENGINE_IMAGES),
)
