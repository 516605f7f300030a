"""What evaluate and inference share: model file and post-processor."""

from __future__ import annotations

from pathlib import Path

from ocdnet.config.shared import PostProcessing
from ocdnet.errors import EnvironmentFault
from ocdnet.postprocess import DBPostprocessor


def model_file(checkpoint: str, engine: str) -> Path:
    """The model that a section names.

    Raises:
        EnvironmentFault: it names a TensorRT engine, which this release does not run.
    """
    if engine:
        raise EnvironmentFault(
            "not-built-yet",
            "TensorRT engines are not available in this release",
            got=engine,
            expected="a .pth or .onnx file as checkpoint",
            hint="Export the checkpoint and give the .onnx file as checkpoint.",
        )
    return Path(checkpoint)


def postprocessor(config: PostProcessing, polygon: bool) -> DBPostprocessor:
    """The post-processor of a section."""
    args = config.args
    return DBPostprocessor(
        args.thresh, args.box_thresh, args.max_candidates, args.unclip_ratio, polygon
    )
