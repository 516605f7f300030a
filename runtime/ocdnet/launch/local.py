"""This machine: the command as it is."""

from __future__ import annotations

from shlex import quote

from ocdnet.launch.job import Launch, PlannedJob
from ocdnet.notes import Notes


def command(job: PlannedJob, program: str, _notes: Notes) -> Launch:
    """One line that runs the job here."""
    return Launch([f"{program} {job.verb} -e {quote(str(job.spec_file))}{job.flags}"])
