"""`ocdnet merge`: the parts of an inference as one."""

from __future__ import annotations

from pathlib import Path

import click

from ocdnet.cli.shared import print_json


@click.command(epilog="Example: ocdnet merge results")
@click.argument("results_dir", type=click.Path(path_type=Path))
def merge(results_dir: Path) -> None:
    """Put together what the tasks of a cluster have found: the parts of one inference.

    RESULTS_DIR holds the folder `shards` that runs of inference with inference.shards=N and
    inference.shard=0, 1 and so on have filled, itself or in inference/. Writes there what one run
    would have written: predictions.jsonl, coco.json, and links to the files of each picture. The
    parts stay. Every part must have ended well, be of the same spec and model, and hold its own
    pictures in files that nobody changed.
    Prints JSON: images, boxes, skipped, skipped_images, shards, results_dir, warnings, and the
    files that were written.

    Exit codes: 0 written; 3 a file of somebody else's is there; 4 a part is missing, has failed, or
    is of another run: the error says which.
    """
    from ocdnet.actions.merge import run
    from ocdnet.cli.running import log_to_stderr
    from ocdnet.findings import collecting, say
    from ocdnet.runs.typed import to_json

    log_to_stderr()
    with collecting() as findings:
        try:
            print_json(to_json(run(results_dir)))
        finally:
            say(findings)
