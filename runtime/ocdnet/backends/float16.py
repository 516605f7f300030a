"""FP16 within the ONNX file: TensorRT's strongly typed networks compute as the file says."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ocdnet.errors import DataError, out_of_memory
from ocdnet.onnx_file import load_whole


def cast(source: Path, target: Path, keep: Collection[str] = ()) -> None:
    """Write an ONNX file whose weights and layers are float16; input and output stay float32.

    Args:
        source: ONNX in float32.
        target: file to write.
        keep: names of nodes that stay in float32.

    Raises:
        DataError: ONNX Runtime's converter cannot cast it.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    whole = load_whole(source)
    try:
        model = convert_float_to_float16(
            whole, keep_io_types=True, node_block_list=list(keep) or None
        )
        # The converter puts its casts last and leaves the old types noted: both make bad ONNX.
        OnnxModel.graph_topological_sort(model.graph)
        del model.graph.value_info[:]
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        if out_of_memory(error):
            raise
        raise DataError(
            "bad-onnx",
            f"ONNX Runtime cannot cast {source} to FP16",
            got=(str(error).strip() or type(error).__name__).splitlines()[0][:200],
            hint="Build an engine of gen_trt_engine.tensorrt.data_type=FP32.",
        ) from error
    onnx.save(model, target)
