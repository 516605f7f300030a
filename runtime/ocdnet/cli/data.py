"""The `ocdnet data` commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocdnet.cli.data_check import check, split, stats
from ocdnet.cli.data_fetch import fetch
from ocdnet.cli.help import Group
from ocdnet.cli.shared import pixel_size, print_json
from ocdnet.data.formats.recognise import FORMS
from ocdnet.errors import Interrupted, UsageError
from ocdnet.progress_bar import counter

if TYPE_CHECKING:
    from ocdnet.data.scenes.style import SceneStyle

_INSTEAD = dict.fromkeys(
    ("train", "test"), "use --out OUT/SPLIT --count N, another --seed for each"
)
"""What does the work of options of version 0.2."""


@click.group(cls=Group)
def data() -> None:
    """Make datasets, fetch, convert, check and divide them, and unpack archives."""


@data.command(
    epilog="""\b
Examples:
  ocdnet data synth --out scenes/train --count 2000
  ocdnet data synth --out scenes/test --count 100 --seed 1 --preview"""
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder to make; absent or empty."
)
@click.option("--count", default=100, show_default=True, help="Scenes to render.")
@click.option("--size", default="1280x720", show_default=True, help="WIDTHxHEIGHT in pixels.")
@click.option("--seed", default=0, show_default=True, help="Same seed, same machine: same pixels.")
@click.option(
    "--backgrounds",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of photographs without text.  [default: backgrounds are drawn]",
)
@click.option("--lines", is_flag=True, help="Label lines instead of words.")
@click.option(
    "--outlines", is_flag=True, help="Bend some words, and label outlines of 6 points or more."
)
@click.option("--preview", is_flag=True, help="Write OUT/preview.jpg: scenes with their labels.")
@click.option("--train", type=click.IntRange(min=1), hidden=True)
@click.option("--test", type=click.IntRange(min=1), hidden=True)
@click.option("--words", type=(int, int), hidden=True)
@click.option("--height", type=(int, int), hidden=True)
@click.option("--rotate", type=float, hidden=True)
@click.option("--ignored", type=float, hidden=True)
@click.option("--empty", type=float, hidden=True)
@click.option("--fonts", type=click.Choice(["bundled", "system"]), hidden=True)
def synth(
    out: Path,
    count: int,
    size: str,
    seed: int,
    backgrounds: Path | None,
    lines: bool,
    outlines: bool,
    preview: bool,
    train: int | None,
    test: int | None,
    **former: Any,
) -> None:
    """Render scenes of text with labels, to train on.

    Streets, rooms and walls with signs, posters, notices and goods: small words, turned, badly lit,
    blurred, half hidden, in this machine's fonts; and much that looks like text and is not. Writes
    OUT/img/img_N.jpg and OUT/gt/gt_img_N.txt, one line a word in ICDAR2015's form:
    x1,y1,...,x4,y4,text; of words that nobody could read the text is ###. OUT, whole or absent, is
    a data_path for a spec. Scene N depends on the seed and N alone. Prints JSON: data_path, seed,
    images, words, ignored, empty. Needs the extra `data` and a few fonts for variety: `ocdnet
    doctor` shows.
    """
    from ocdnet.data.folders import list_images
    from ocdnet.data.scenes.style import SceneStyle

    photographs = tuple(list_images(backgrounds)) if backgrounds else ()
    if backgrounds and not photographs:
        raise UsageError(
            "no-images", f"{backgrounds} holds no picture", hint="Name a folder of photographs."
        )
    style = SceneStyle(
        size=pixel_size(size, "--size"),
        lines=lines,
        curved=SceneStyle.curved if outlines else 0,
        photographs=photographs,
        **{name: value for name, value in former.items() if value is not None},
    )
    splits = {"train": train, "test": test}
    warnings = [
        f"--{name} goes away: {_INSTEAD.get(name, 'scenes vary by themselves')}"
        for name, value in (splits | former).items()
        if value is not None
    ]
    warned = {"warnings": warnings} if warnings else {}
    if train is None and test is None:
        print_json(_render(out, count, style, seed, preview) | warned)
        return
    rendered = {
        name: _render(out / name, number, style, seed + place, preview)
        for place, (name, number) in enumerate(splits.items())
        if number
    }
    print_json({"out": str(out), "seed": seed, "splits": rendered} | warned)


def _render(
    out: Path, count: int, style: SceneStyle, seed: int, preview: bool
) -> dict[str, str | int]:
    """Write one set, and tell what it holds."""
    from ocdnet.cli.scene_sheet import write_sheet
    from ocdnet.data.scenes.dataset import write_dataset

    with counter("rendering") as progress:
        counts = write_dataset(out, count, style, seed, progress)
    if preview:
        write_sheet(out / "preview.jpg", style, seed, count)
    return {"data_path": str(out), "seed": seed, **counts._asdict()}


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
    names, passwords. Prints JSON: out, files, bytes, data_path (OUT where it holds img/ and gt/ or
    .tar files, else null), images.
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


@data.command(
    epilog="""\b
Examples:
  ocdnet data convert labelme_folder --to icdar2015 --out words
  ocdnet data convert coco.json --images pictures --to icdar2015 --out words
  ocdnet data convert Label.txt --to datalist --out words
  ocdnet data convert words/train --to coco --out words-coco"""
)
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "to",
    required=True,
    type=click.Choice(["icdar2015", "datalist", "coco", "paddleocr"]),
    help="Format to write; `datalist` leaves the pictures where they are.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder to make; absent or empty."
)
@click.option(
    "--from",
    "form",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", *FORMS]),
    metavar="FORMAT",
    help=f"Format of SOURCE: auto (by its content), {', '.join(FORMS)}.",
)
@click.option(
    "--images",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of the pictures, searched below, too; repeatable.  [default: SOURCE's own]",
)
@click.option("--link", is_flag=True, help="Hard links to the pictures instead of copies.")
def convert(
    source: Path, to: str, out: Path, form: str, images: tuple[Path, ...], link: bool
) -> None:
    """Convert labels of other tools, a file or a folder, into a set for training.

    Polygons, text and ignored regions are kept; pictures are copied byte for byte. OUT is whole or
    absent. What can't be read or found is left out, counted, and listed in OUT/left_out.txt; where
    that is all, exit 4. Prints JSON: from, to, data (what a spec's data_path takes), images,
    regions, ignored, shapes, splits, left_out, warnings.
    """
    from ocdnet.data.formats.convert import Conversion
    from ocdnet.data.formats.convert import convert as run

    try:
        print_json(run(Conversion(source, form, to, out, images, link)))
    except KeyboardInterrupt as error:
        raise Interrupted(
            "interrupted", "Interrupted: nothing is written", hint="Run it again."
        ) from error


for command in (check, split, stats, fetch):
    data.add_command(command)
