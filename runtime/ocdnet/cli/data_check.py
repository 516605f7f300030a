"""`ocdnet data check`, `stats` and `split`: what is in a set, what is wrong with it, its parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ocdnet.cli.shared import print_json, program
from ocdnet.data.look import IGNORE_TAGS
from ocdnet.errors import Exit, UsageError

_PATHS = click.argument("paths", nargs=-1, required=True, metavar="PATH...")
_TAGS = click.option(
    "--ignore-tag",
    "tags",
    multiple=True,
    default=IGNORE_TAGS,
    show_default=True,
    metavar="TEXT",
    help="Transcription of text to ignore; repeatable.",
)


@click.command(
    epilog="""\b
Examples:
  ocdnet data check words/train words/test
  ocdnet data check words/train --html check.html --fix mended"""
)
@_PATHS
@_TAGS
@click.option("--quick", is_flag=True, help="Read labels and sizes alone; decode no picture.")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Page to write: histograms, and the strangest pictures with their labels.",
)
@click.option(
    "--fix",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder to make, absent or empty: a mended copy.",
)
@click.pass_context
def check(context: click.Context, /, **given: Any) -> None:
    """Read all labels and pictures of each PATH, a split folder or a datalist; say what is wrong.

    Prints one JSON object: verdict (good, look at, cannot be used), reasons, a row a path (numbers,
    errors, warnings as a run would have them, pictures that are nearly the same), such pictures of
    several paths, and settings that suit the data; `set` has those of a training as `ocdnet plan
    --set` takes them. PATH is never changed.

    --fix writes a copy: labels in ICDAR2015's form with what is mended (order of corners, what lies
    beyond the picture, UTF-8), pictures linked; what can't be read is left out, and counted.

    Exit codes: 0 good, or look at; 4 cannot be used, or a PATH is no data; with --fix 0 where the
    copy was written.
    """
    from ocdnet.cli.checking import looked_at, mended, summed_up
    from ocdnet.policy.artifacts import Skill, skill_dir
    from ocdnet.report.data_page import write_data_page
    from ocdnet.runs.outputs import refuse_page
    from ocdnet.runs.typed import to_json

    if given["quick"] and given["fix"]:
        message = "--fix leaves out pictures that can't be read, which --quick does not look for"
        raise UsageError("contradiction", message, hint="Leave out one of them.")
    if given["html"]:
        refuse_page(given["html"])
    sets = [looked_at(path, given["tags"], decode=not given["quick"]) for path in given["paths"]]
    document = summed_up(sets, Skill(skill_dir()))
    if given["html"]:
        document = replace(document, html=str(given["html"]))
        write_data_page(given["html"], document, [one.measures for one in sets], program())
    if given["fix"]:
        document = replace(document, fixed=mended(sets, given["fix"], given["tags"]))
    print_json(to_json(document))
    if document.verdict == "cannot be used" and not document.fixed:
        context.exit(Exit.DATA)


@click.command(epilog="Example: ocdnet data stats words/train words/test")
@_PATHS
@_TAGS
def stats(**given: Any) -> None:
    """Print the numbers of each PATH alone: pictures, words, heights, angles, sizes.

    The same as the rows of `check` have, as JSON; no picture is decoded. Labels that can't be read
    are left out: `check` names them.
    """
    from ocdnet.cli.checking import looked_at, numbers
    from ocdnet.runs.printed_data import DataStats
    from ocdnet.runs.typed import to_json

    sets = [looked_at(path, given["tags"], decode=False) for path in given["paths"]]
    print_json(to_json(DataStats(data=tuple(map(numbers, sets)))))


@click.command(
    epilog="""\b
Example:
  ocdnet data split words --out parts
  ocdnet plan --action train --train-dataset parts/train.txt \\
    --eval-dataset parts/val.txt"""
)
@_PATHS
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder to make; absent or empty."
)
@click.option(
    "--val",
    "share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of the pictures to judge by.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another one: others."
)
@_TAGS
def split(**given: Any) -> None:
    """Divide the pictures of PATH, split folders or datalists, into two datalists.

    Writes OUT/train.txt and OUT/val.txt, which name pictures and labels where they are. Both parts
    have pictures of no, few and many words in the same proportion; pictures that nearly are the
    same stand in one of them. PATH is never changed. Prints JSON: the lists, their pictures and
    words.
    """
    from ocdnet.cli.splitting import divided
    from ocdnet.runs.typed import to_json

    wanted = (given[name] for name in ("paths", "out", "share", "seed", "tags"))
    print_json(to_json(divided(*wanted)))
