"""The `ocdnet data` commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ocdnet.cli.help import Group
from ocdnet.cli.shared import pixel_size
from ocdnet.errors import Interrupted
from ocdnet.progress_bar import counter


@click.group(cls=Group)
def data() -> None:
    """Make datasets, check them, and unpack their archives."""


@data.command(epilog="Example: ocdnet data synth --out scenes --train 200 --test 50 --words 3 8")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder to make; absent or empty."
)
@click.option("--train", default=80, show_default=True, help="Images of the split `train`.")
@click.option("--test", default=20, show_default=True, help="Images of the split `test`.")
@click.option("--size", default="640x640", show_default=True, help="WIDTHxHEIGHT in pixels.")
@click.option("--seed", default=0, show_default=True, help="Same seed, same machine: same pixels.")
@click.option("--words", default=(4, 16), type=(int, int), show_default=True, help="Words a scene.")
@click.option(
    "--height",
    default=(14, 56),
    type=(int, int),
    show_default=True,
    help="Height of capital letters in pixels.",
)
@click.option("--rotate", default=20.0, show_default=True, help="Largest rotation in degrees.")
@click.option(
    "--ignored", default=0.1, show_default=True, help="Share of signs labelled ### (unreadable)."
)
@click.option("--empty", default=0.05, show_default=True, help="Share of scenes without text.")
@click.option(
    "--fonts",
    default="system",
    type=click.Choice(["bundled", "system"]),
    show_default=True,
    help="Only matplotlib's own fonts, or this machine's too.",
)
def synth(out: Path, train: int, test: int, seed: int, size: str, **style: Any) -> None:
    """Render a synthetic scene-text set.

    Writes OUT/<split>/img/img_N.jpg and OUT/<split>/gt/gt_img_N.txt, one line a word in ICDAR2015
    form: x1,y1,x2,y2,x3,y3,x4,y4,text. Each OUT/<split> is a data_path for a spec. Prints a JSON
    summary. Needs the extra `data`: `ocdnet doctor` shows.
    """
    from ocdnet.data.synthetic import SceneStyle, write_dataset

    scenes = SceneStyle(size=pixel_size(size, "--size"), **style)
    with counter("rendering") as progress:
        summary = write_dataset(out, {"train": train, "test": test}, scenes, seed, progress)
    click.echo(json.dumps(summary, indent=2))


@data.command(epilog="Example: ocdnet data extract train.tar.gz --out data/train")
@click.argument("archive", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder to make; absent or empty."
)
@click.option(
    "--max-gb",
    type=click.IntRange(min=1),
    help="GiB it may grow to.  [default: 100 times its size, 1 at least]",
)
@click.option(
    "--max-files",
    type=click.IntRange(min=1),
    help="Files and folders it may hold.  [default: 2 million]",
)
def extract(archive: Path, out: Path, max_gb: int | None, max_files: int | None) -> None:
    """Unpack a dataset's ARCHIVE (zip, tar, tar.gz, tar.bz2, tar.xz) safely.

    OUT is whole or absent. A folder that is alone at the top is left out, so that OUT holds img/
    and gt/, or the images, directly. Refused: links, devices, paths that lead out of OUT, equal
    names, passwords. Prints JSON: out, files, bytes, data_path (OUT where it holds img/ and gt/,
    else null), images.
    """
    from ocdnet.data.archives import extract as unpack

    try:
        with counter("unpacking") as progress:
            unpacked = unpack(archive, out, max_gb=max_gb, max_files=max_files, progress=progress)
    except KeyboardInterrupt as error:
        raise Interrupted(
            "interrupted", "Interrupted: nothing is unpacked", hint="Run it again."
        ) from error
    click.echo(json.dumps(unpacked, indent=2))


@data.command(epilog="Example: ocdnet data check words/train words/test")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--ignore-tag",
    "tags",
    multiple=True,
    default=("*", "###"),
    show_default=True,
    metavar="TEXT",
    help="Transcription of text to ignore; repeatable.",
)
def check(paths: tuple[str, ...], tags: tuple[str, ...]) -> None:
    """Read every label of each PATH, a split folder or a datalist; tell what is doubtful in them.

    Prints JSON, a row a path: images, regions, ignored (regions), warnings (code, message, files,
    count) as a run would have them. Labels that can't be read are an error (exit 4) that lists ten
    of them.
    """
    from ocdnet.data.annotations import index_dataset
    from ocdnet.findings import collecting

    rows = []
    for path in paths:
        with collecting() as seen:
            census = index_dataset([path], tags).census
        warnings = [
            {"code": row.code, "message": row.message, "files": row.files, "count": row.count}
            for row in seen.rows()
        ]
        numbers = {"images": census.images, "regions": census.regions}
        ignored = census.regions - census.cared
        rows.append({"path": path, **numbers, "ignored": ignored, "warnings": warnings})
    click.echo(json.dumps({"data": rows}, indent=2))
