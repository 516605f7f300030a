"""A batch script for Slurm."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote

from ocdnet.launch.job import Launch, PlannedJob, gpu_overrides, part_overrides
from ocdnet.launch.mounts import has_relative
from ocdnet.launch.template import fill
from ocdnet.notes import Notes
from ocdnet.runs.files import LATEST
from ocdnet.spec_keys import RESUME, TRAIN_WORKERS
from ocdnet.tree import keys
from ocdnet.tree.yaml_io import inline_yaml

_CPUS = 8
"""For each process, where the spec leaves the number of workers open."""


def batch(job: PlannedJob, program: str, notes: Notes) -> Launch:
    """An sbatch script that starts one process a GPU on each node, as Lightning expects.

    A training run or a search that Slurm interrupts is queued again, and goes on. Tasks that share
    an inference are an array, and a second script, which waits for all of them, merges.
    """
    notes.warn("Slurm: all paths, and the skill itself, must lie on disks that the nodes share.")
    words = [f"{program} {job.verb} -e {quote(str(job.written))}{job.flags}"]
    words += map(quote, gpu_overrides(job, notes))
    words += part_overrides(job, '"$SLURM_ARRAY_TASK_ID"')
    results = os.path.abspath(job.results_dir)  # noqa: PTH100 - Path.absolute keeps ..
    latest = _latest(job)
    text = fill(
        "job.sbatch.j2",
        name=f"ocdnet-{job.entry.name}",
        log=_sbatch_path(results) + ("/slurm-%A_%a.out" if job.shards > 1 else "/slurm-%j.out"),
        shards=job.shards,
        nodes=job.nodes,
        processes=job.processes,
        gpus=job.gpus,
        cpus=_cpus(job),
        folder=str(Path.cwd()) if has_relative(job) else None,
        command=" ".join(words),
        requeue=latest is not None or bool(job.search),
        waits=False,
        latest=latest,
        resume=f"{RESUME}={inline_yaml(latest)}",
    )
    name = f"{job.entry.name}.sbatch"
    submit = f"sbatch {quote(str(job.written.parent / name))}"
    files = {name: text}
    if job.shards > 1:
        merging = f"{job.entry.name}_merge.sbatch"
        files[merging] = _merging(job, program, results)
        submit = (
            f"JOB=$({submit.replace('sbatch', 'sbatch --parsable', 1)}) && sbatch"
            f' --dependency="afterok:${{JOB%;*}}" {quote(str(job.written.parent / merging))}'
        )
    # Slurm makes no folder for its log.
    return Launch([f"mkdir -p {quote(results)}", submit], files)


def _merging(job: PlannedJob, program: str, results: str) -> str:
    """The script that puts the parts together, on one CPU."""
    return fill(
        "job.sbatch.j2",
        name=f"ocdnet-{job.entry.name}-merge",
        log=_sbatch_path(results) + "/slurm-%j.out",
        shards=1,
        waits=True,
        nodes=1,
        processes=1,
        gpus=0,
        cpus=1,
        folder=str(Path.cwd()) if has_relative(job) else None,
        command=f"{program} merge {quote(job.results)}",
        requeue=False,
        latest=None,
    )


def _latest(job: PlannedJob) -> str | None:
    """The checkpoint that a run started again goes on from; None where nothing is trained."""
    if not job.entry.trains or job.search or job.section.get("is_dry_run"):
        return None  # a search goes on by itself
    return f"{job.results}/{LATEST}"


def _cpus(job: PlannedJob) -> int:
    """CPUs of each process: its workers and itself."""
    workers = keys.get(job.spec, TRAIN_WORKERS, -1) if job.entry.trains else -1
    return int(workers) + 1 if workers >= 0 else _CPUS


def _sbatch_path(path: str) -> str:
    """A folder as an #SBATCH line takes it: quoted, and % doubled (it marks the job's number)."""
    for mark in '\\"':
        path = path.replace(mark, f"\\{mark}")
    return path.replace("%", "%%")
