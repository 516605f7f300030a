"""Section `quantize`: post-training quantization."""

from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from ocdnet.config.base import STRICT


@dataclass(config=STRICT, kw_only=True)
class QuantizeConfig:
    """Post-training quantization."""

    model_path: str = ""
    """Checkpoint (torch backends) or ONNX file (modelopt.onnx) to quantize."""

    results_dir: str = ""
    """Folder of this action's results, instead of <results_dir>/quantize."""

    backend: Literal["modelopt.pytorch", "torchao", "modelopt.onnx"] = "torchao"
    """Library that quantizes."""

    mode: Literal["static_ptq", "weight_only_ptq"] = "weight_only_ptq"
    """Weights and activations (needs calibration images), or weights only."""

    algorithm: Literal["minmax", "max", "entropy", "awq_clip", "awq_lite", "awq_full", "rtn_dq"] = (
        "minmax"
    )
    """How ranges are found."""

    layers: list[dict[str, Any]] = field(default_factory=list)
    """Number formats of single layers, by module name."""

    skip_names: list[str] = field(default_factory=list)
    """Module names that stay as they are."""

    device: Annotated[str, Field(pattern="^(cuda|cpu|trt|cuda:[0-9]+)$")] = "cuda"
    """Device to calibrate on."""

    backend_kwargs: dict[str, Any] | None = None
    """Further arguments of the backend."""
