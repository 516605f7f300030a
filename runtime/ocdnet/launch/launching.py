"""From a planned job to the commands that run it on its platform."""

from __future__ import annotations

import importlib
import re

from ocdnet.errors import UsageError
from ocdnet.launch.job import Launch, PlannedJob
from ocdnet.launch.platforms import PLATFORMS
from ocdnet.notes import Notes
from ocdnet.spec_keys import NUM_GPUS, NUM_NODES

_IMAGE = re.compile(r"[A-Za-z0-9][\w.:/@-]*", re.ASCII)


def launch(job: PlannedJob, program: str, notes: Notes) -> Launch:
    """How a job is run on its platform; what cannot be, has no commands and a note.

    Args:
        job: what is to be run.
        program: how the user calls `ocdnet`, quoted for a shell.
        notes: told what to beware of and what to ask.

    Raises:
        UsageError: an image or a claim that cannot be one, a path that no container can hold.
    """
    _check_image(job, notes)
    platform = PLATFORMS[job.platform]
    if job.gpus < 0 and platform.cluster:
        notes.ask(
            NUM_GPUS,
            f"{job.platform} reserves GPUs by their number: how many on each machine? "
            "(-1 means all of a machine that is known.)",
        )
        return Launch()
    if job.nodes > 1 and not platform.cluster:
        clusters = [name for name, other in PLATFORMS.items() if other.cluster]
        notes.warn(
            f"{NUM_NODES} is {job.nodes}, and {job.platform} starts one machine, which waits "
            f"for the others: use --platform {' or '.join(clusters)}."
        )
    module, _, function = platform.run.partition(":")
    how: Launch = getattr(importlib.import_module(module), function)(job, program, notes)
    return how


def _check_image(job: PlannedJob, notes: Notes) -> None:
    if job.image is not None and not _IMAGE.fullmatch(job.image):
        raise UsageError(
            "bad-image",
            "--image is not the name of a container image",
            got=job.image,
            expected="REGISTRY/NAME:TAG",
        )
    if job.image is not None and not PLATFORMS[job.platform].container:
        notes.warn(f"--image is not used: {job.platform} runs no container.")
    if job.claims and not PLATFORMS[job.platform].claims:
        claiming = [name for name, platform in PLATFORMS.items() if platform.claims]
        notes.warn(f"--claim is not used: it is for --platform {' or '.join(claiming)}.")
