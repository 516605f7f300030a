"""From a planned job to the commands that run it, on each platform."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from shlex import quote

from ocdnet.errors import UsageError
from ocdnet.launch import docker, kubernetes, slurm
from ocdnet.launch.job import Launch, PlannedJob
from ocdnet.notes import Notes
from ocdnet.spec_keys import NUM_GPUS, NUM_NODES
from ocdnet.tree.yaml_io import inline_yaml

__all__ = ["Launch", "PlannedJob", "launch"]

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
    if job.gpus < 0 and job.platform in _MANY_NODES:
        notes.ask(
            NUM_GPUS,
            f"{job.platform} reserves GPUs by their number: how many on each machine? "
            "(-1 means all of a machine that is known.)",
        )
        return Launch()
    if job.nodes > 1 and job.platform not in _MANY_NODES:
        notes.warn(
            f"{NUM_NODES} is {job.nodes}, and {job.platform} starts one machine, which waits "
            f"for the others: use --platform {' or '.join(_MANY_NODES)}."
        )
    if job.spec_file is None and job.platform != "local":
        notes.warn(f"The commands for {job.platform} need the spec as a file: give --write DIR.")
    return _PLATFORMS[job.platform](job, program, notes)


def _local(job: PlannedJob, program: str, _notes: Notes) -> Launch:
    spec = job.template if job.spec_file is None else job.spec_file
    words = [f"{program} {job.verb} -e {quote(str(spec))}{job.flags}"]
    if job.spec_file is None:
        words += [quote(f"{key}={inline_yaml(value)}") for key, value in job.overrides.items()]
    return Launch([" ".join(words)])


def _check_image(job: PlannedJob, notes: Notes) -> None:
    if job.image is not None and not _IMAGE.fullmatch(job.image):
        raise UsageError(
            "bad-image",
            "--image is not the name of a container image",
            got=job.image,
            expected="REGISTRY/NAME:TAG",
        )
    if job.image is not None and job.platform in ("local", "slurm"):
        notes.warn(f"--image is not used: {job.platform} runs no container.")
    if job.claims and job.platform != "kubernetes":
        notes.warn("--claim is not used: it is for --platform kubernetes.")


_MANY_NODES = ("slurm", "kubernetes")
_PLATFORMS: Mapping[str, Callable[[PlannedJob, str, Notes], Launch]] = {
    "local": _local,
    "docker": docker.bundled,
    "tao-docker": docker.tao,
    "slurm": slurm.batch,
    "kubernetes": kubernetes.manifest,
}
