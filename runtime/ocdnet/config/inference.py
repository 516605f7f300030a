"""Section `inference`: finding text in new images."""

from collections.abc import Iterator
from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from ocdnet.config.base import STRICT, GpuId, ImgMode, Positive, Resize, Side, extra, popular
from ocdnet.config.rules import Given, Needed, Never, NoArchive
from ocdnet.config.shared import PostProcessing
from ocdnet.spec_keys import (
    INFERENCE_CHECKPOINT,
    INFERENCE_DATA,
    INFERENCE_ENGINE,
    INFERENCE_SHARD,
    INFERENCE_SHARDS,
    SHARDS,
    engine_wins,
)
from ocdnet.tree.nodes import MISSING
from ocdnet.tree.problems import Problem, SpecFieldError

Output = Literal["txt", "result", "pred", "json", "coco", "crops", "overlay", "heatmap"]
"""What inference can write; the first three are TAO's."""


@dataclass(config=STRICT, kw_only=True)
class InferenceConfig:
    """Inference."""

    checkpoint: Annotated[str, popular] = MISSING
    """Model to run (.pth or .onnx)."""

    trt_engine: str = ""
    """Engine to run (gen_trt_engine's, or a TensorRT engine); checkpoint is not read then."""

    input_folder: str = MISSING
    """Folder of images."""

    recursive: Annotated[bool, extra] = False
    """Search sub-folders, too; results are written to folders of the same names."""

    results_dir: str = ""
    """Folder of this action's results, instead of <results_dir>/inference."""

    outputs: Annotated[list[Output], Field(min_length=1), extra] = field(
        default_factory=lambda: ["txt", "result", "pred"]
    )
    """Files: txt, result, pred (TAO's), json, coco, crops, overlay, heatmap: see predict.md."""

    width: Annotated[Side, popular] = 1280
    """Width that images are resized to, in pixels."""

    height: Annotated[Side, popular] = 736
    """Height that images are resized to, in pixels."""

    resize: Annotated[Resize, extra, popular] = "stretch"
    """How images come to that size: stretch (as TAO), fit (aspect kept), auto (turned), tile."""

    img_mode: ImgMode = "BGR"
    """Channel order that images are read in."""

    polygon: Annotated[bool, popular] = False
    """Write polygons instead of quadrilaterals."""

    show: bool = False
    """TAO's switch for windows; none are opened here."""

    batch_size: Annotated[int, Field(ge=-1)] = -1
    """Images a batch; -1: what the model allows."""

    skip_unreadable: Annotated[bool, extra] = False
    """Leave out images that cannot be read, and count them, instead of stopping at the first."""

    num_threads: Annotated[int, Field(ge=0, le=1024), extra] = 0
    """Threads that compute, and that read images; 0: one for each CPU that may be used."""

    shards: Annotated[int, Field(ge=1, le=500), extra] = 1
    """Parts that tasks of a cluster share the images in; `ocdnet merge` puts them together."""

    shard: Annotated[int, Field(ge=0, le=499), extra] = 0
    """The part of this run, from 0; its results go to shards/<shard> in the results folder."""

    num_gpus: Annotated[Positive, popular] = 1
    """GPUs on each node."""

    gpu_ids: Annotated[list[GpuId], popular] = field(default_factory=lambda: [0])
    """Indices of the GPUs."""

    num_nodes: Annotated[Positive, popular] = 1
    """Machines."""

    post_processing: PostProcessing = field(default_factory=PostProcessing)

    @property
    def part(self) -> str:
        """Where this run's results go below the action's folder."""
        return f"{SHARDS}/{self.shard}" if self.shards > 1 else ""

    def problems(self) -> Iterator[Problem]:
        """A part that there is not."""
        if self.shard >= self.shards:
            yield SpecFieldError(
                "out-of-range",
                INFERENCE_SHARD,
                f"{INFERENCE_SHARD!r} is no part of {self.shards}",
                got=self.shard,
                expected=f"0 to {self.shards - 1}, below {INFERENCE_SHARDS}",
            )

    def notices(self) -> Iterator[str]:
        """That the checkpoint is not read, where an engine stands beside it."""
        if self.trt_engine and self.checkpoint:
            yield engine_wins(INFERENCE_ENGINE, INFERENCE_CHECKPOINT)


RULES = (
    Needed(
        INFERENCE_CHECKPOINT,
        "inference (or a trt_engine)",
        "/path/to/model_best.pth",
        unless=Given(INFERENCE_ENGINE),
    ),
    Never("inference.batch_size", 0, "out-of-range", "is out of range", "-1 (any), or 1 and above"),
    NoArchive(INFERENCE_DATA),
)
