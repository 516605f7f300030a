"""`ocdnet view`: pictures with labels, predictions and map, in a browser."""

from __future__ import annotations

from pathlib import Path

import click

from ocdnet.cli.shared import print_json
from ocdnet.install import require

_NEEDS = "ocdnet view needs Starlette and uvicorn"
_HELP = """Leaf through pictures with labels, predictions and map, in a browser.

PATH is one of:

\b
  a folder of pictures, with its sub-folders
  a split folder (img/ and gt/), or a folder of such
  a datalist
  results of evaluate: labels, what was found, and every mistake by kind
  results of predict --out or inference: what was found

The page opens at the address that stderr tells; ? on it lists its keys. It answers this machine
alone. With labels and --model, what is found in a picture is compared with its labels. Of
results the outlines stay those of the run, and --model adds the map; of an
evaluation the model that it scored does so by itself, where it is still there.

Ctrl-C or SIGTERM ends it; then one JSON object tells what was shown. Exit codes: 0 ended so; 4
PATH holds no pictures; 5 the port is taken."""


@click.command(
    help=_HELP,
    epilog="""\b
Examples:
  ocdnet view words/train
  ocdnet view photos --model detector.onnx
  ocdnet view results/evaluate""",
)
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--model",
    metavar="MODEL",
    help="A .pth, an .onnx, an engine, or a name of `weights list`: finds text in the picture that "
    "is looked at, and shows the probability map.",
)
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port; 0: any that is free.",
)
def view(path: Path, model: str | None, port: int) -> None:
    """Leaf through pictures with labels, predictions and map, in a browser."""
    for package in ("starlette", "uvicorn"):
        require(package, _NEEDS, "serve")
    from ocdnet.cli.running import log_to_stderr
    from ocdnet.runs.typed import to_json
    from ocdnet.view.given import open_set
    from ocdnet.view.model import given_model, scored_model
    from ocdnet.view.server import Viewer

    log_to_stderr()
    pictures = open_set(path)
    looks = given_model(model) if model else scored_model(pictures)
    viewer = Viewer(path, pictures, model=looks, port=port)
    print_json(to_json(viewer.run()))
