"""Section `quantize`: post-training quantization."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from ocdnet.config.base import STRICT, popular, words
from ocdnet.config.rules import Is, Needed
from ocdnet.spec_keys import CALIBRATION_DATA
from ocdnet.tree.problems import Problem, SpecFieldError

INT8, NATIVE = "int8", "native"
FP8 = ("fp8_e4m3fn", "fp8_e5m2")
"""Number formats of NVIDIA's own image, which are not made here."""
_FORMATS = (INT8, NATIVE, *FP8)
FP8_ELSEWHERE = "NVIDIA's image does (--platform tao-docker, spec render --target tao)"
_PARTS = ("weights", "activations")
_OF_RANGES = ("minmax", "max", "entropy")
_OF_WEIGHTS = ("minmax", "max")
"""Algorithms that find ranges of activations, and those that find them of weights alone."""
_TAKES: dict[str, dict[str, tuple[str, ...]]] = {
    "modelopt.onnx": {"activations": ("int8", "uint8")},
}
"""What stands in backend_kwargs; a value of null is none."""


@dataclass(config=STRICT, kw_only=True)
class QuantizeConfig:
    """Post-training quantization."""

    model_path: str = ""
    """Checkpoint (torch backends) or ONNX file (modelopt.onnx) to quantize."""

    results_dir: str = ""
    """Folder of this action's results, instead of <results_dir>/quantize."""

    backend: Annotated[Literal["modelopt.pytorch", "torchao", "modelopt.onnx"], popular] = "torchao"
    """Library that quantizes."""

    mode: Annotated[Literal["static_ptq", "weight_only_ptq"], popular] = "weight_only_ptq"
    """Weights and activations (needs calibration images), or weights only."""

    algorithm: Literal["minmax", "max", "entropy", "awq_clip", "awq_lite", "awq_full", "rtn_dq"] = (
        "minmax"
    )
    """How ranges are found."""

    layers: Annotated[
        list[dict[str, Any]], words(dtype=_FORMATS, **dict.fromkeys(_PARTS, _FORMATS))
    ] = field(default_factory=list)
    """Number formats of single layers, by module name."""

    skip_names: list[str] = field(default_factory=list)
    """Module names that stay as they are."""

    device: Annotated[str, Field(pattern="^(cuda|cpu|trt|cuda:[0-9]+)$")] = "cuda"
    """Device to calibrate on."""

    backend_kwargs: dict[str, Any] | None = None
    """Further arguments; modelopt.onnx takes activations: int8 (for TensorRT) or uint8."""

    def problems(self) -> Iterator[Problem]:
        """Layers that are none, and what the backend cannot do."""
        for number, layer in enumerate(self.layers):
            yield from _layer_problems(f"quantize.layers[{number}]", layer)
        known = _OF_RANGES if self.backend == "modelopt.onnx" else _OF_WEIGHTS
        if self.algorithm not in known:
            yield SpecFieldError(
                "conflict",
                "quantize.algorithm",
                f"'quantize.algorithm' is none of the backend {self.backend}",
                got=self.algorithm,
                expected=" | ".join(known),
            )
        takes = _TAKES.get(self.backend, {})
        for name, value in (self.backend_kwargs or {}).items():
            if value is not None and value not in takes.get(name, ()):
                yield SpecFieldError(
                    "bad-argument",
                    f"quantize.backend_kwargs.{name}",
                    f"'quantize.backend_kwargs.{name}' is not taken by {self.backend}",
                    got=value,
                    expected={key: " | ".join(values) for key, values in takes.items()}
                    or "nothing",
                )

    def notices(self) -> Iterator[str]:
        """That fp8 is not made here."""
        if fp8_layers(self.layers):
            yield f"'quantize.layers' asks for fp8, which is not made here: {FP8_ELSEWHERE}"


def _layer_problems(key: str, layer: Mapping[str, Any]) -> Iterator[Problem]:
    strange = sorted(set(layer) - {"module_name", *_PARTS})
    if strange or not isinstance(layer.get("module_name"), str):
        yield SpecFieldError(
            "bad-layer",
            key,
            f"{key!r} does not name a layer",
            got=strange or layer.get("module_name"),
            expected="module_name, and weights or activations with their dtype",
        )
        return
    for part in _PARTS:
        if _dtype(layer, part) not in (None, *_FORMATS):
            yield SpecFieldError(
                "bad-layer",
                f"{key}.{part}",
                f"'{key}.{part}.dtype' is a number format that is not made here",
                got=_dtype(layer, part),
                expected=f"{INT8} | {NATIVE} (left as it is); {' | '.join(FP8)} in NVIDIA's image",
            )


def layers_of(layers: Sequence[Mapping[str, Any]]) -> tuple[list[str] | None, list[str]]:
    """Names of `quantize.layers` to quantize (None: all) and to leave, as one may write them."""
    left = [str(layer["module_name"]) for layer in layers if _dtype(layer) == NATIVE]
    chosen = [str(layer["module_name"]) for layer in layers if _dtype(layer) != NATIVE]
    return chosen or None, left


def fp8_layers(layers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of those of `quantize.layers` that are to be fp8."""
    return [
        str(layer.get("module_name"))
        for layer in layers
        if any(_dtype(layer, part) in FP8 for part in _PARTS)
    ]


def _dtype(layer: Mapping[str, Any], part: str = "weights") -> Any:
    """The number format of a layer's weights or activations; None: not named."""
    form = layer.get(part)
    return form.get("dtype") if isinstance(form, Mapping) else form


RULES = (
    Needed(
        CALIBRATION_DATA,
        "the backend modelopt.onnx",
        "/path/to/img",
        when=Is("quantize.backend", "modelopt.onnx"),
    ),
)
