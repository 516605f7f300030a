"""`ocdnet report`: one page about what was run."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ocdnet.cli.shared import program


@click.command(
    epilog="""\b
Examples:
  ocdnet report results
  ocdnet report results/train --out train.html"""
)
@click.argument("results_dir", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write.  [default: RESULTS_DIR/report.html]",
)
def report(results_dir: Path, out: Path | None) -> None:
    """Write one page of HTML about the jobs in RESULTS_DIR.

    RESULTS_DIR is a run's results_dir, or one action's folder, of this runtime or of TAO; finished
    or not. The page shows curves, every epoch's scores, the worst and the best images with what was
    found in them, warnings, settings, commands and files. It opens offline, in any browser. Prints
    one JSON object: report (the file), jobs (action, folder, state, hmean), bytes.

    Exit codes: 0 written; 3 the file is there and no report of ours; 4 no such folder, or no job in
    it; 5 the file can't be written.
    """
    from ocdnet.report.page import write_report
    from ocdnet.runs.files import REPORT
    from ocdnet.runs.outputs import refuse_page

    refuse_page(out or results_dir / REPORT)
    written = write_report(results_dir, out or results_dir / REPORT, program())
    click.echo(json.dumps(written, indent=2))
