"""From a results folder to its page."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ocdnet.files import write_text
from ocdnet.report import charts
from ocdnet.report.pictures import Album
from ocdnet.report.sections import Section, section
from ocdnet.runs.jobs import run_folders
from ocdnet.version import VERSION

_TEMPLATES = Path(__file__).resolve().parent / "templates"
PICTURE_BYTES = 2_400_000
"""Of all pictures of a page, as data URIs."""
_MOST_JOBS = 20


def write_report(root: Path, out: Path, program: str) -> dict[str, Any]:
    """Write one page of HTML about the jobs in a folder; it needs no network and runs no script.

    Args:
        root: a run's results folder, or one action's own.
        out: the file to write.
        program: the start of a command line for the commands in it, quoted for a shell.

    Returns:
        report (the file), jobs (action, folder, state, hmean where it is known), bytes.

    Raises:
        DataError: the folder does not exist, can't be read, or holds no job.
        UserError: the file can't be written, as `ocdnet.files.replacing`.
    """
    album = Album(PICTURE_BYTES)
    jobs = run_folders(root)
    sections = [section(job, root, program, album, jobs) for job in jobs[:_MOST_JOBS]]
    left_out = len(jobs) - len(sections)
    page = rendered("page.html.j2", root=root, sections=sections, left_out=left_out)
    write_text(out, page)
    return {
        "report": str(out),
        "jobs": [_row(part) for part in sections],
        "bytes": out.stat().st_size,
    }


def rendered(template: str, **values: Any) -> str:
    """A page of a template, with when and by what it was written."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        autoescape=True,  # names of files and what labels say are anybody's
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(
        charts=charts,
        version=VERSION,
        written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        **values,
    )


def _row(part: Section) -> dict[str, str]:
    row = {"action": part.title, "folder": part.folder, "state": part.state}
    return row | ({"hmean": part.hmean} if part.hmean else {})
