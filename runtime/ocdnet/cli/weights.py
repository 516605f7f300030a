"""The `ocdnet weights` commands."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import click

from ocdnet.cli.help import Group
from ocdnet.cli.shared import print_json
from ocdnet.errors import UsageError
from ocdnet.runs.typed import to_json


@click.group(cls=Group)
def weights() -> None:
    """List public weights, fetch them by name, and tell what a model's file is."""


@weights.command("list", epilog="Example: ocdnet weights list")
def list_() -> None:
    """List the weights that have a name.

    `model.pretrained_model_path` takes a name in place of a path. Prints JSON: cache (folder of
    fetched files), weights (name, kind: detector or backbone, backbone, trained_on, published:
    scores of their trainers, licence, source).
    """
    from ocdnet.runs.printed_weights import ListedWeights, PublishedScores, WeightsList
    from ocdnet.zoo.fetching import cache
    from ocdnet.zoo.registry import WEIGHTS

    rows = tuple(
        ListedWeights(
            name=one.name,
            kind=one.kind,
            backbone=one.backbone,
            trained_on=one.trained_on,
            published=PublishedScores(**asdict(one.published)) if one.published else None,
            licence=one.licence,
            source=one.source,
        )
        for one in WEIGHTS
    )
    print_json(to_json(WeightsList(cache=str(cache()), weights=rows)))


@weights.command(epilog="Example: ocdnet weights fetch dbnet-r18-icdar2015")
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to copy it to; absent.  [default: it stays in the cache]",
)
def fetch(name: str, out: Path | None) -> None:
    """Fetch the file of the weights NAME once, and check its hash.

    It stays in $XDG_CACHE_HOME/ocdnet/weights (~/.cache/ocdnet/weights). OCDNET_WEIGHTS names
    another server (https://...) with the same paths, or a folder that holds the files, from which
    they are taken then. Prints JSON: name, file, sha256, backbone, licence, source.

    Exit codes: 0 it is there; 4 no such name, or another file than it should be; 5 it cannot be
    fetched: the error says where to put it by hand.
    """
    from ocdnet.files import replacing, sha256
    from ocdnet.runs.printed_weights import FetchedWeights
    from ocdnet.zoo import fetching, registry

    found = registry.named(name)
    if out is not None and out.exists():
        raise UsageError(
            "file-exists", f"{out} exists, and is not written over", expected="another --out"
        )
    file = fetching.fetch(found)
    if out is not None:
        with replacing(out) as temporary:
            shutil.copyfile(file, temporary)
        file = out
    fetched = FetchedWeights(
        name=found.name,
        file=str(file),
        sha256=sha256(file),
        backbone=found.backbone,
        licence=found.licence,
        source=found.source,
    )
    print_json(to_json(fetched))


@weights.command(epilog="Example: ocdnet weights info results/train/model_best.pth")
@click.argument("file", type=click.Path(path_type=Path))
def info(file: Path) -> None:
    """Tell what FILE is: a checkpoint, an ONNX file, or an engine with its JSON file.

    Prints JSON, as far as the file says it: source (what wrote it), name (of public weights),
    sha256, bytes, backbone, input (img_mode, mean, divisor, size), tensors, parameters, resumable,
    pruned, int8_layers, start (the weights from which its training started), spec (main settings),
    precision, batch, made_from.
    """
    from ocdnet.backends.description import describe

    print_json(to_json(describe(file)))
