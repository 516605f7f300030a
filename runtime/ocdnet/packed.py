"""Packed networks: ONNX of a quarter of the size, to be run and to start training from.

Weights of convolutions are int8 with a scale for each output channel, behind DequantizeLinear;
batch norms are not folded. Every tensor has its key of the state dict, so that the file is a
checkpoint, too. Its metadata say what preprocessing, network and thresholds it has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ocdnet import onnx_file
from ocdnet.checkpoint import QUANTIZED_KEY, SPEC_KEY
from ocdnet.errors import DataError

SPEC = "ocdnet.spec"
"""Metadata key: the parts of the training's spec that say what the network is, as JSON."""
_PARTS = ("backbone.", "neck.", "head.")
"""Of a network; other constants are the exporter's."""
_MEAN, _COUNT = "running_mean", "num_batches_tracked"


def content(path: Path) -> Mapping[str, Any]:
    """What a packed file holds, in the form of a checkpoint's content.

    Raises:
        DataError: damaged, or an ONNX file that is not packed.
    """
    model = onnx_file.load_stored(path)
    try:
        spec = json.loads(next(one.value for one in model.metadata_props if one.key == SPEC))
    except (StopIteration, ValueError) as error:
        raise DataError(
            "not-packed",
            f"{path} is an ONNX file for inference, from which no training can start",
            expected="a checkpoint, or a name of `ocdnet weights list`",
            hint="Give the checkpoint that it was exported from.",
        ) from error
    tensors = {one.name: one for one in model.graph.initializer}
    arrays = {
        name: onnx_file.array(one, path) for name, one in tensors.items() if name.startswith(_PARTS)
    }
    for node in onnx_file.widenings(model.graph):
        arrays |= zip(node.input, onnx_file.stored(node, tensors, path), strict=True)
    state = {name: torch.from_numpy(value.copy()) for name, value in arrays.items()}
    for name in [name for name in state if name.endswith(_MEAN)]:
        state[name.removesuffix(_MEAN) + _COUNT] = torch.zeros((), dtype=torch.int64)
    return {"state_dict": state, SPEC_KEY: spec, QUANTIZED_KEY: {}}
