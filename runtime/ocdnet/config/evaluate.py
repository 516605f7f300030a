"""Section `evaluate`: scoring a model on labelled images."""

from collections.abc import Iterator
from dataclasses import field
from typing import Annotated

from pydantic.dataclasses import dataclass

from ocdnet.config.base import STRICT, GpuId, Positive, extra, popular
from ocdnet.config.rules import Given, Needed
from ocdnet.config.shared import Metric, PostProcessing
from ocdnet.spec_keys import EVALUATE_CHECKPOINT, EVALUATE_ENGINE, engine_wins
from ocdnet.tree.nodes import MISSING


@dataclass(config=STRICT, kw_only=True)
class EvaluateConfig:
    """Evaluation."""

    checkpoint: Annotated[str, popular] = MISSING
    """Model to evaluate (.pth or .onnx)."""

    trt_engine: str = ""
    """Engine to evaluate (gen_trt_engine's, or a TensorRT engine); checkpoint is not read then."""

    results_dir: str = ""
    """Folder of this action's results, instead of <results_dir>/evaluate."""

    batch_size: Annotated[Positive, popular] = 1
    """Images a batch."""

    num_gpus: Annotated[Positive, popular] = 1
    """GPUs on each node."""

    gpu_ids: Annotated[list[GpuId], popular] = field(default_factory=lambda: [0])
    """Indices of the GPUs."""

    num_nodes: Annotated[Positive, popular] = 1
    """Machines."""

    post_processing: PostProcessing = field(default_factory=PostProcessing)

    metric: Metric = field(default_factory=Metric)

    coco_ap: Annotated[bool, extra] = False
    """Report average precision as COCO does, too (AP50:95, AP50, AP75), over polygons."""

    reuse_maps: Annotated[bool, extra] = False
    """Read maps that an earlier run kept (in 8 bits) instead of computing them: for thresholds."""

    def notices(self) -> Iterator[str]:
        """That the checkpoint is not read, where an engine stands beside it."""
        if self.trt_engine and self.checkpoint:
            yield engine_wins(EVALUATE_ENGINE, EVALUATE_CHECKPOINT)


RULES = (
    Needed(
        EVALUATE_CHECKPOINT,
        "evaluate (or a trt_engine)",
        "/path/to/model_best.pth",
        unless=Given(EVALUATE_ENGINE),
    ),
)
