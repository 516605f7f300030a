"""Section `prune`: removing channels."""

from typing import Annotated

from pydantic.dataclasses import dataclass

from ocdnet.config.base import STRICT, Fraction, GpuId, Positive, popular
from ocdnet.tree.nodes import MISSING


@dataclass(config=STRICT, kw_only=True)
class PruneConfig:
    """Structured pruning by weight magnitude."""

    checkpoint: str = MISSING
    """Model to prune (.pth)."""

    results_dir: str = ""
    """Folder of this action's results, instead of <results_dir>/prune."""

    ch_sparsity: Annotated[Fraction, popular] = 0.1
    """Fraction of channels to remove."""

    p: Positive = 2
    """Norm that ranks the channels (1: L1, 2: L2)."""

    round_to: Positive = 32
    """Channels left are rounded up to a multiple of this; no layer may have fewer to begin with."""

    gpu_id: GpuId = 0
    """Index of the GPU."""

    verbose: bool = False
    """Log what each layer loses."""
