"""This machine: the command as it is, with the spec as a file or as overrides of the template."""

from __future__ import annotations

from shlex import quote

from ocdnet.launch.job import Launch, PlannedJob
from ocdnet.notes import Notes
from ocdnet.tree.yaml_io import inline_yaml


def command(job: PlannedJob, program: str, notes: Notes) -> Launch:
    """One line that runs the job here; none where there is no file that it could name."""
    spec = job.template if job.spec_file is None else job.spec_file
    if spec is None:
        notes.ask("--write", "The template is missing: to which folder is the spec to be written?")
        return Launch()
    words = [f"{program} {job.verb} -e {quote(str(spec))}{job.flags}"]
    if job.spec_file is None:
        words += [quote(f"{key}={inline_yaml(value)}") for key, value in job.overrides.items()]
    return Launch([" ".join(words)])
