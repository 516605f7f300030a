"""Jobs that are planned and may not have run yet, and the models that they will leave."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from ocdnet.catalogue import ACTIONS, RUNS
from ocdnet.catalogue_entry import Model
from ocdnet.errors import UserError
from ocdnet.policy.placing import folder_of
from ocdnet.policy.summary import promised_files
from ocdnet.runs.files import RunFiles, is_file, onnx_beside
from ocdnet.runs.jobs import RunFolder, job_in, named, same_folder
from ocdnet.runs.progress import Progress
from ocdnet.tree import keys, yaml_io
from ocdnet.tree.references import has_references

_MOST_FOLDERS = 200


def planned_jobs(parent: Path) -> list[RunFolder]:
    """The jobs that a folder of `ocdnet plan --write` is for.

    Args:
        parent: that folder or, of jobs that have not run, where they will write: their specs are
            then looked for in the working folder, beside `parent`, and one level below both.
    """
    if parent.is_dir():
        return list(_jobs([parent]))
    around = dict.fromkeys([Path(), named(parent).parent])
    folders = [*around, *(below for folder in around for below in _folders(folder))]
    return [
        job
        for job in _jobs(folders)
        if any(same_folder(folder, parent) for folder in (job.folder, job.folder.parent))
    ]


def promised(kind: Model, jobs: Iterable[RunFolder]) -> list[tuple[RunFolder, Path]]:
    """The models of a kind that jobs will write, which run still or were not started."""
    waiting = (job for job in jobs if job.progress.state is None or job.running)
    found = [(job, _promise(kind, job)) for job in waiting]
    return [(job, path) for job, path in found if path is not None]


def _promise(kind: Model, job: RunFolder) -> Path | None:
    entry = RUNS.get(job.action or "")
    if entry is None or entry.makes != kind or not job.experiment:
        return None
    output = next((output for output in entry.outputs if output.model == kind), None)
    if output is None:
        name, *_ = promised_files(entry, job.experiment)
        return None if "?" in name else job.folder / name
    path = keys.get(job.experiment, output.key)
    beside = keys.get(job.experiment, output.beside) if output.beside else None
    if not path and isinstance(beside, str):
        path = onnx_beside(beside)
    return Path(path) if isinstance(path, str) and path not in ("", "???") else None


def _jobs(folders: Iterable[Path]) -> Iterator[RunFolder]:
    for folder in folders:
        for name, entry in ACTIONS.items():
            spec = folder / f"{name}.yaml"
            if entry.trains or not is_file(spec):  # who searches writes elsewhere
                continue
            try:
                tree = yaml_io.read(spec)
            except UserError:
                continue
            if has_references(tree):  # a plan's spec holds none
                continue
            target = folder_of(entry, tree)
            yield job_in(target) or RunFolder(
                folder=target, action=name, progress=Progress(), files=RunFiles(), spec=spec
            )


def _folders(folder: Path) -> list[Path]:
    try:
        return [path for path in islice(sorted(folder.iterdir()), _MOST_FOLDERS) if path.is_dir()]
    except OSError:
        return []
