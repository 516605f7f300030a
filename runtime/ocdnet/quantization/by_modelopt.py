"""Quantization by NVIDIA's modelopt, which is optional: it asks for other releases of ONNX."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ocdnet.quantization.graphs import layers_of, left_out, prepared
from ocdnet.quantization.qdq import QdqReport, finish
from ocdnet.quantization.ranges import Reader, smoothed

METHODS: Mapping[str, str] = {"minmax": "max", "max": "max", "entropy": "entropy"}
"""modelopt's name of each algorithm; its ranges are symmetric."""
_FLOAT = ["ConvTranspose", "DeformConv"]


def quantize_onnx(
    source: Path,
    target: Path,
    batches: Iterable[NDArray[np.float32]],
    algorithm: str,
    *,
    skip: Sequence[str] = (),
    only: Sequence[str] | None = None,
) -> QdqReport:
    """`ranges.calibrate` and `qdq.insert_qdq` by modelopt's quantizer: symmetric int8 throughout.

    Args:
        source: ONNX file.
        target: file to write.
        batches: float32[B, 3, H, W] each, at least one.
        algorithm: one of METHODS.
        skip: as of `insert_qdq`.
        only: as of `insert_qdq`.

    Raises:
        DataError: no batches, or a file that is no usable ONNX.
    """
    from modelopt.onnx.quantization import quantize  # noqa: PLC0415 - not a requirement

    with tempfile.TemporaryDirectory() as folder:
        graph = prepared(source, Path(folder))
        _, every = smoothed(graph, batches)
        model = onnx.load(graph.path)
        layers = layers_of(model)
        written = Path(folder) / "quantized.onnx"
        quantize(
            str(graph.path),
            quantize_mode="int8",
            calibration_data_reader=Reader(graph.input, every),
            calibration_method=METHODS[algorithm],
            calibration_eps=["cpu"],
            op_types_to_exclude=_FLOAT,
            nodes_to_exclude=[f"^{name}$" for name in sorted(left_out(model, skip, only))],
            high_precision_dtype="fp32",
            output_path=str(written),
            log_level="ERROR",
        )
        return finish(onnx.load(written), source, target, layers)


def quantize_network(
    model: Any, batches: Iterable[NDArray[np.float32]] | None, names: Sequence[str]
) -> dict[str, Any]:
    """Int8 weights, and the scales of the layers' inputs, by modelopt's quantizers for torch.

    Args:
        model: network in float32 on the CPU; left as it is.
        batches: what activations are calibrated on; None: weights alone.
        names: layers whose weights are wanted.

    Returns:
        An Int8 for each of the layers that modelopt knows.
    """
    import modelopt.torch.quantization as mtq  # noqa: PLC0415 - not a requirement
    import torch  # noqa: PLC0415 - by_modelopt's other half needs none

    from ocdnet.models.quantized import Int8  # noqa: PLC0415 - likewise

    settings = copy.deepcopy(mtq.INT8_DEFAULT_CFG)
    if batches is None:
        settings["quant_cfg"].append({"quantizer_name": "*input_quantizer", "enable": False})

    @torch.inference_mode()
    def calibrate(network: Any) -> None:
        for batch in batches or ():
            network(torch.from_numpy(batch))

    calibrated = mtq.quantize(copy.deepcopy(model).eval(), settings, calibrate)
    weights = {}
    for name, module in calibrated.named_modules():
        if name not in names or not hasattr(module, "weight_quantizer"):
            continue
        # Symmetric int8: -127..127, so that the largest magnitude becomes 127.
        scale = (module.weight_quantizer.amax.detach() / 127).clamp(min=1e-12)
        values = (module.weight.detach() / scale).round().clamp(-127, 127).to(torch.int8)
        largest = module.input_quantizer.amax if module.input_quantizer.is_enabled else None
        input_scale = None if largest is None else largest.detach().reshape(1) / 127
        weights[name] = Int8(values, scale, input_scale)
    return weights
