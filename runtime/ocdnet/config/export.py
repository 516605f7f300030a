"""Section `export`: writing a model as ONNX."""

from typing import Annotated

from pydantic.dataclasses import dataclass

from ocdnet.config.base import STRICT, GpuId, Positive, Side, extra, popular
from ocdnet.tree.nodes import MISSING


@dataclass(config=STRICT, kw_only=True)
class ExportConfig:
    """Export to ONNX."""

    checkpoint: str = MISSING
    """Model to export (.pth)."""

    onnx_file: str = ""
    """File to write; empty: beside the checkpoint, with the suffix .onnx."""

    results_dir: str = ""
    """Folder of this action's results, instead of <results_dir>/export."""

    width: Annotated[Side, popular] = 1280
    """Width of the network input, in pixels."""

    height: Annotated[Side, popular] = 736
    """Height of the network input, in pixels."""

    dynamic_size: Annotated[bool, extra, popular] = False
    """Let the file take any width and height that are multiples of 32, not those two alone."""

    opset_version: Annotated[Positive, popular] = 19
    """ONNX operator set; raised where the graph needs it: to 19 by DeformConv, to 18 by FAN."""

    gpu_id: GpuId = 0
    """Index of the GPU."""

    verbose: bool = False
    """Log the exporter's messages."""
