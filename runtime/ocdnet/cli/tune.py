"""`ocdnet tune`: thresholds for a model and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocdnet.cli.shared import print_json, spec_file_option

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command(
    epilog="""\b
Examples:
  ocdnet tune -e spec.yaml
  ocdnet tune -e spec.yaml --write tuned.yaml
  ocdnet evaluate -e tuned.yaml evaluate.reuse_maps=true"""
)
@spec_file_option("A spec of evaluate: its model, its pictures, its thresholds.")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--write",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File for the spec with what was found, for evaluate and inference; it may not exist.",
)
def tune(spec_file: Path, overrides: tuple[str, ...], write: Path | None) -> None:
    """Find the thresholds that suit a model and pictures.

    Tries 750 settings of thresh, box_thresh, unclip_ratio and the shape of boxes. The network sees
    each picture once; maps that evaluate made are found in the cache. Prints JSON: `spec` (what the
    spec's settings score), `best`, `cross_validated` (each half of the pictures with what the other
    half chose: what to expect elsewhere; its gain with a 95 % interval), `tao_best_of_nine`,
    `one_by_one` (how much each setting matters), `overrides` (KEY=VALUE for evaluate and
    inference), `warnings`. Tune on validation pictures: on test pictures the scores flatter.

    OCDNET_MAPS names another folder for the cache, or is `off`.
    """
    from ocdnet.runs.typed import to_json

    print_json(to_json(_tuned(spec_file, overrides, write)))


def _tuned(spec_file: Path, overrides: Sequence[str], write: Path | None) -> Any:
    from contextlib import redirect_stdout
    from dataclasses import replace
    from sys import stderr

    from ocdnet.actions.tune import run
    from ocdnet.actions.tuned_spec import note_other_pictures, refuse_existing, write_tuned
    from ocdnet.cli.running import log_to_stderr
    from ocdnet.config import spec
    from ocdnet.findings import collecting, say

    log_to_stderr()
    if write is not None:
        refuse_existing(write)
    loaded = spec.load("evaluate", spec_file, overrides)
    tree = spec.read(spec_file, overrides, "evaluate")
    with redirect_stdout(stderr), collecting() as findings:
        try:
            if write is not None:
                note_other_pictures(tree, loaded)
            result = run(loaded, findings)
        finally:
            say(findings)
    if write is None or result.best is None:
        return result
    write_tuned(write, tree, loaded, result.overrides)
    return replace(result, spec_file=str(write))
