"""Which devices a run uses."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache

import torch

from ocdnet.errors import EnvironmentFault

LOG = logging.getLogger("ocdnet")


def gpu_indices(num_gpus: int, gpu_ids: Sequence[int]) -> list[int]:
    """The CUDA devices that the spec asks for; none means the CPU.

    TAO's defaults (one GPU, index 0) mean "what is there". Only more GPUs or other indices are
    demands. Indices given for other than `num_gpus` devices are replaced by the first ones.

    Raises:
        EnvironmentFault: a demand that this machine cannot meet.
    """
    wanted = list(gpu_ids) if len(gpu_ids) == num_gpus else list(range(num_gpus))
    present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if all(index < present for index in wanted):
        return wanted
    if wanted == [0]:
        _notice_cpu()
        return []
    raise EnvironmentFault(
        "no-such-gpu",
        "This machine does not have the GPUs that the spec asks for",
        got=f"num_gpus {num_gpus}, gpu_ids {list(gpu_ids)}",
        expected=f"at most {present} CUDA device(s)",
        hint="Leave num_gpus at 1 and gpu_ids at [0] to use what is there.",
    )


def torch_device(num_gpus: int = 1, gpu_ids: Sequence[int] = (0,)) -> torch.device:
    """The one device of an action that runs in a single process; raises as `gpu_indices`."""
    indices = gpu_indices(num_gpus, gpu_ids)
    return torch.device("cuda", indices[0]) if indices else torch.device("cpu")


@cache
def _notice_cpu() -> None:
    LOG.info("No CUDA device here: running on the CPU.")
