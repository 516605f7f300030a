"""FP16 within the ONNX file: TensorRT's strongly typed networks compute as the file says."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path


def cast(source: Path, target: Path, keep: Collection[str] = ()) -> None:
    """Write an ONNX file whose weights and layers are float16; input and output stay float32.

    Args:
        source: ONNX in float32.
        target: file to write.
        keep: names of nodes that stay in float32.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = convert_float_to_float16(
        onnx.load(source), keep_io_types=True, node_block_list=list(keep) or None
    )
    # The converter puts its casts last and leaves the old types noted: both make bad ONNX.
    OnnxModel.graph_topological_sort(model.graph)
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)
