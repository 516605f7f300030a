"""`ocdnet report`: one page about what was run."""

from __future__ import annotations

from pathlib import Path

import click

from ocdnet.cli.shared import print_json, program

_COMPARISON = "comparison.html"


@click.command(
    epilog="""\b
Examples:
  ocdnet report results
  ocdnet report results/train --out train.html
  ocdnet report results_a results_b --out a_and_b.html"""
)
@click.argument("results_dir", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write.  [default: RESULTS_DIR/report.html; of several runs comparison.html here]",
)
def report(results_dir: tuple[Path, ...], out: Path | None) -> None:
    """Write one page of HTML about the jobs in RESULTS_DIR, or compare runs.

    RESULTS_DIR is a run's results_dir, or one action's folder, of this runtime or of TAO; finished
    or not. The page shows curves, every epoch's scores, an evaluation's mistakes by kind with the
    words zoomed to, which texts are found, the images with the most mistakes and the best ones,
    warnings, settings, commands and files. It opens offline, in any browser. Prints one JSON
    object: report (the file), jobs (action, folder, state, hmean), bytes.

    Of two to six RESULTS_DIR the page compares the later ones with the first: settings that differ,
    curves overlaid, the difference of hmean on common pictures with its 95 % bootstrap interval,
    and the words that one run alone finds. Prints the same as one JSON object: report, runs, pairs,
    settings, notes (what keeps them from comparison), bytes.

    Exit codes: 0 written; 2 a run is given twice, or more than six are; 3 the file is there and no
    report of ours; 4 no such folder, or no job in it; 5 the file can't be written.
    """
    from ocdnet.runs.files import REPORT
    from ocdnet.runs.outputs import refuse_page

    if len(results_dir) == 1:
        from ocdnet.report.page import write_report

        target = out or results_dir[0] / REPORT
        refuse_page(target)
        print_json(write_report(results_dir[0], target, program()))
        return
    from ocdnet.report.comparison import write_comparison
    from ocdnet.runs.typed import to_json

    target = out or Path(_COMPARISON)
    refuse_page(target)
    print_json(to_json(write_comparison(results_dir, target)))
