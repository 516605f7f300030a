"""The JSON files beside models: what an engine is, and how a foreign ONNX is fed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ocdnet.backends.base import BatchSizes
from ocdnet.config.base import STRICT
from ocdnet.data.preprocess import Normalisation, Preprocess
from ocdnet.data.resizing import Room
from ocdnet.engines import Kind
from ocdnet.errors import DataError, SpecError
from ocdnet.files import read_regular, sha256, write_json
from ocdnet.spec_keys import STRIDE
from ocdnet.zoo.registry import Suggested, Threshold

PAGE = "references/foreign-models.md"
MOST_BYTES = 1 << 24
"""Of the JSON file beside a model, which has a thousandth of it."""

T = TypeVar("T")
_SIDE = Annotated[int, Field(ge=1, le=65_535)]
_BATCH = Annotated[int, Field(ge=1, le=65_535)]
Channels = Annotated[tuple[FiniteFloat, ...], Field(min_length=3, max_length=3)]
"""A number for each of an image's three channels."""


@dataclass(config=STRICT, kw_only=True, frozen=True)
class Feeding:
    """How an engine's input is made and its output read.

    Attributes:
        img_mode: BGR, RGB or GRAY, as images are read; also the order of the channels.
        mean: subtracted from the pixels 0..255, a number for each channel.
        divisor: what that is divided by, for each channel.
        output: name of the output that holds the probability map.
        logits: whether that output still needs a sigmoid.
        channel: of that output's channels the one that is text; None: the first.
    """

    img_mode: Literal["BGR", "RGB", "GRAY"]
    mean: Channels
    divisor: Channels
    output: str
    logits: bool = False
    channel: Annotated[int, Field(ge=0)] | None = None


@dataclass(config=STRICT, kw_only=True, frozen=True)
class Engine:
    """The description of an engine: the content of `<engine>.json`.

    Attributes:
        kind: what runs it.
        precision: FP32, FP16 or INT8, as asked for.
        input: name of the input, float32[batch, 3, height, width].
        width: of the input, in pixels.
        height: of the input, in pixels.
        min_size: least width and height of an engine that takes several sizes; None of others.
        max_size: its largest.
        batch: batch sizes: the least, the best and the most images.
        preprocess: how the input is made, and which output is read.
        source: name and SHA-256 of the ONNX file.
        engine_sha256: of the engine file.
        calibration: digest of the images and settings of an INT8 engine, None of others.
        suggested: thresholds that suit the network, by name; None: it does not say.
        versions: of the packages that built it.
        format: of this file.
    """

    kind: Kind
    precision: Literal["FP32", "FP16", "INT8"]
    input: str
    width: _SIDE
    height: _SIDE
    batch: dict[Literal["min", "opt", "max"], _BATCH]
    preprocess: Feeding
    source: dict[Literal["file", "sha256"], str]
    engine_sha256: str
    min_size: tuple[int, int] | None = None
    max_size: tuple[int, int] | None = None
    calibration: str | None = None
    suggested: dict[Threshold, FiniteFloat] | None = None
    versions: dict[str, str] = field(default_factory=dict)
    format: Literal[1] = 1

    @property
    def sizes(self) -> BatchSizes:
        """The batch sizes; raises KeyError where one is missing."""
        return BatchSizes(self.batch["min"], self.batch["opt"], self.batch["max"])

    @property
    def size(self) -> tuple[int, int] | Room:
        """Width and height, or the sizes between which they may be."""
        size = self.width, self.height
        room = Room(self.min_size or size, self.max_size or size)
        return size if room.least == room.most else room

    @property
    def suggests(self) -> Suggested | None:
        """Its size and thresholds."""
        given: dict[Any, Any] = self.suggested or {}
        return Suggested(size=(self.width, self.height), **given) if given else None

    @property
    def normalisation(self) -> Normalisation:
        """Of the input."""
        return Normalisation(self.preprocess.mean, self.preprocess.divisor)


@dataclass(config=STRICT, kw_only=True, frozen=True)
class Foreign:
    """How another trainer's ONNX file is fed: the content of `<model>.onnx.json`.

    The network's input is `(pixel * scale - mean) / std`.

    Attributes:
        img_mode: BGR, RGB or GRAY: the order of the channels.
        mean: of each channel.
        std: of each channel, not 0.
        scale: of the pixels 0..255.
        output: name or number of the output that holds the probability map.
        logits: whether that output still needs a sigmoid.
        channel: of that output's channels the one that is text; None: the first.
    """

    img_mode: Literal["BGR", "RGB", "GRAY"]
    mean: Channels
    std: Channels
    scale: FiniteFloat = 1 / 255
    output: str | int = 0
    logits: bool = False
    channel: Annotated[int, Field(ge=0)] | None = None

    @property
    def normalisation(self) -> Normalisation:
        """In pixels 0..255."""
        mean, divisor = (
            tuple(number / self.scale for number in numbers) for numbers in (self.mean, self.std)
        )
        return Normalisation(mean, divisor)


def beside(path: Path) -> Path:
    """The JSON file of a model file: `<name>.json`."""
    return path.with_name(f"{path.name}.json")


def read_engine(path: Path) -> Engine | None:
    """What the file beside an engine says; None where there is none.

    Raises:
        DataError: it is damaged, or belongs to another engine file.
    """
    expected = "the JSON file that gen_trt_engine wrote beside the engine"
    engine = _read(beside(path), Engine, expected)
    if engine is None:
        return None
    try:
        Preprocess((engine.width, engine.height), engine.preprocess.img_mode)
        for side in (engine.min_size, engine.max_size):
            Preprocess(side or STRIDE, engine.preprocess.img_mode)
        good = 1 <= engine.sizes.min <= engine.sizes.opt <= engine.sizes.max
    except (SpecError, KeyError):
        good = False
    if not (good and _computes(engine.normalisation)):
        raise DataError(
            "bad-sidecar",
            f"{beside(path)} holds values that cannot be",
            got={"width": engine.width, "height": engine.height, "batch": engine.batch},
            expected=f"sides that are multiples of {STRIDE}, min <= opt <= max, no divisor of 0, "
            "numbers that 32 bits hold",
            hint="Build the engine again with `ocdnet gen_trt_engine`.",
        )
    _check_digest(path, engine)
    return engine


def _check_digest(path: Path, engine: Engine) -> None:
    digest = sha256(path)
    if digest != engine.engine_sha256:
        raise DataError(
            "sidecar-of-another-engine",
            f"{beside(path)} describes another file than {path}",
            got=f"sha256 {digest}",
            expected=f"sha256 {engine.engine_sha256}",
            hint="Copy engine and JSON file together, or build the engine again.",
        )


def write_engine(path: Path, engine: Engine) -> None:
    """Write the description of an engine to `path`, its JSON file."""
    content = TypeAdapter(Engine).dump_python(engine, mode="json")
    # What is not said is left out, so that earlier releases read the file.
    if engine.preprocess.channel is None:
        del content["preprocess"]["channel"]
    if engine.suggested is None:
        del content["suggested"]
    write_json(path, content)


def read_foreign(path: Path) -> Foreign | None:
    """How a foreign ONNX file is fed, as the file beside it says; None where there is none.

    Raises:
        DataError: it is damaged.
    """
    foreign = _read(beside(path), Foreign, f"img_mode, mean and std, as {PAGE} describes")
    if foreign is not None and not (foreign.scale and all(foreign.std)):
        raise DataError(
            "bad-sidecar",
            f"{beside(path)} divides by 0",
            got={"scale": foreign.scale, "std": foreign.std},
            expected="a scale and a std other than 0",
        )
    if foreign is not None and not _computes(foreign.normalisation):
        raise DataError(
            "bad-sidecar",
            f"The numbers of {beside(path)} overflow",
            got={"mean": foreign.mean, "std": foreign.std, "scale": foreign.scale},
            expected="a mean and a std that 32 bits hold when divided by the scale",
        )
    return foreign


def _computes(normalisation: Normalisation) -> bool:
    """Whether mean and divisor are usable in the network's 32 bits."""
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        mean = np.asarray(normalisation.mean, np.float32)
        factor = np.float32(1) / np.asarray(normalisation.divisor, np.float32)
        return bool(np.isfinite(mean).all() and np.isfinite(factor).all() and np.all(factor))


def _read(path: Path, kind: type[T], expected: str) -> T | None:
    try:
        return TypeAdapter(kind).validate_json(read_regular(path, MOST_BYTES).decode())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        got = _first(error)
    except (OSError, UnicodeDecodeError) as error:
        got = str(error)
    raise DataError("bad-sidecar", f"Cannot use {path}", got=got, expected=expected)


def _first(error: ValidationError) -> str:
    """The first error, in one line."""
    first: Mapping[str, Any] = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else str(first["msg"])


def digest(value: Any) -> str:
    """SHA-256 of JSON-ready data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
