"""What is to be run, and how one runs it: the two ends of every platform."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

from ocdnet.catalogue import SEARCH
from ocdnet.catalogue_entry import Action
from ocdnet.notes import Notes
from ocdnet.spec_keys import INFERENCE_SHARD, INFERENCE_SHARDS, results_folder


@dataclass(frozen=True, kw_only=True)
class PlannedJob:
    """A planned job.

    Attributes:
        entry: the action that is asked for.
        spec: the complete spec, as it stands in `spec_file`; for tao-docker: as TAO reads it.
        spec_file: where the spec is written, by this plan or by the command that it prints.
        skill_dir: the skill's folder.
        platform: local, docker, tao-docker, slurm or kubernetes.
        image: the user's own image; None: ours, or NVIDIA's for tao-docker.
        claims: kubernetes volumes, `NAME:/mount/path`.
        search: flags of `ocdnet automl`, where that runs the job; empty: its command does.
        shards: tasks of a cluster that share the images, each a part; 1: one does all.
        on_ray: whether Ray runs it.
        tao_image: NVIDIA's image for the action; empty where it is not used.
    """

    entry: Action
    spec: Mapping[str, Any]
    spec_file: Path
    skill_dir: Path
    platform: str
    image: str | None = None
    claims: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    shards: int = 1
    on_ray: bool = False
    tao_image: str

    @property
    def command(self) -> str:
        """The subcommand of `ocdnet` that does the action; also its section of the spec."""
        return self.entry.section

    @property
    def results_dir(self) -> str:
        """Root of the job's results."""
        return str(self.spec.get("results_dir") or "results")

    @property
    def verb(self) -> str:
        """The subcommand that is called."""
        return SEARCH if self.search else self.command

    @property
    def flags(self) -> str:
        """What follows the spec on its command line, with a space before."""
        ray = " --runner ray" if self.on_ray else ""
        return "".join(f" {quote(flag)}" for flag in self.search) + ray

    @property
    def results(self) -> str:
        """Absolute folder of the action's own results."""
        own = self.section.get("results_dir", "")
        folder = results_folder(self.results_dir, own, self.command)
        return os.path.abspath(folder)  # noqa: PTH100 - Path.absolute keeps ..

    @property
    def num_gpus(self) -> int:
        """GPUs of each machine, as the spec counts them; -1: all."""
        return int(self.section.get("num_gpus", 1))

    @property
    def gpus_asked(self) -> bool:
        """Whether more than TAO's default of one GPU is asked for."""
        return self.num_gpus > 1 or self.section.get("gpu_ids", [0]) != [0]

    @property
    def _spreads(self) -> bool:
        return self.entry.trains

    @property
    def nodes(self) -> int:
        """Machines that take part: only training spreads."""
        return int(self.section.get("num_nodes", 1)) if self._spreads and not self.search else 1

    @property
    def gpus(self) -> int:
        """GPUs on each machine: only training takes several."""
        return self.num_gpus if self._spreads else 1

    @property
    def processes(self) -> int:
        """Processes on each machine, one a GPU; a search starts its own."""
        return 1 if self.search else self.gpus

    @property
    def section(self) -> Mapping[str, Any]:
        """The command's own section of the spec."""
        return self.spec.get(self.command) or {}

    @property
    def written(self) -> Path:
        """The spec's absolute path."""
        return Path(os.path.abspath(self.spec_file))  # noqa: PTH100 - Path.absolute keeps ..


@dataclass(frozen=True)
class Launch:
    """How a job is run.

    Attributes:
        commands: shell lines, in order.
        files: file name -> text, to be written beside the spec before.
        image: the container image that runs it, if one does.
    """

    commands: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    image: str | None = None


def part_overrides(job: PlannedJob, task: str) -> list[str]:
    """Overrides that give a task its part of the images; none where one task does all.

    Args:
        job: it.
        task: what the scheduler puts the task's number for.
    """
    if job.shards == 1:
        return []
    return [f"{INFERENCE_SHARDS}={job.shards}", f"{INFERENCE_SHARD}={task}"]


def gpu_overrides(job: PlannedJob, notes: Notes) -> list[str]:
    """Overrides that name the GPUs as a scheduler numbers them: from 0, whichever they are."""
    section, name = job.section, job.command
    if job.search:
        return []  # each worker's trials have one GPU, whatever the spec says
    if section.get("gpu_id"):
        changes = [f"{name}.gpu_id=0"]
    elif section.get("gpu_ids", [0]) != list(range(len(section.get("gpu_ids", [0])))):
        ids = ",".join(map(str, range(job.num_gpus)))
        changes = [f"{name}.gpu_ids=[{ids}]"]
    else:
        return []
    notes.warn(
        f"{job.platform} chooses the GPUs and numbers them from 0: the command sets {changes[0]}."
    )
    return changes
