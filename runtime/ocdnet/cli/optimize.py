"""The `ocdnet optimize` command."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from ocdnet.cli.shared import pixel_size, print_json, program

_PATH = click.Path(path_type=Path)
_RESIZE = ("auto", "fit", "tile", "stretch")


@click.command(
    epilog="""\b
Examples:
  ocdnet optimize model_best.pth --images photos
  ocdnet optimize detector.onnx --images words/test --size 960x960"""
)
@click.argument("model")
@click.option(
    "--images",
    required=True,
    type=_PATH,
    metavar="DIR",
    help="Your images; a folder with img/ and gt/, or a datalist, for hmean, too.",
)
@click.option(
    "--out",
    default="optimized",
    show_default=True,
    type=_PATH,
    metavar="DIR",
    help="Folder to make, for the engines.",
)
@click.option("--size", metavar="WxH", help="The network's size.  [default: the model's]")
@click.option(
    "--resize",
    type=click.Choice(_RESIZE),
    default="auto",
    show_default=True,
    help="How images come to that size, as of predict.",
)
@click.option(
    "--minutes", default=15.0, show_default=True, type=click.FloatRange(0.1), help="Time, at most."
)
def optimize(
    model: str, images: Path, out: Path, size: str | None, resize: str, minutes: float
) -> None:
    """Find the fastest way to run MODEL on this machine.

    MODEL is a .pth checkpoint, an .onnx file, or a name of `ocdnet weights list`. Builds engines
    for the runtimes that are here (ONNX Runtime, OpenVINO, TensorRT; FP32, FP16, INT8), times
    them from image to boxes on at most 48 of your images with 1 thread and more, and compares
    what they find with MODEL as given. What fails is a row with its reason. Prints a table on
    stderr and JSON with `recommended`: the engine, the rule, and the line that uses it.
    """
    from ocdnet.actions.optimize import Request, run
    from ocdnet.cli.running import log_to_stderr
    from ocdnet.findings import collecting, say
    from ocdnet.runs.typed import to_json

    pixels = pixel_size(size, "--size") if size else None
    request = Request(model, images, out, minutes, pixels, resize, program())
    log_to_stderr()
    with contextlib.redirect_stdout(sys.stderr), collecting() as findings:
        try:
            result = run(request, findings)
        finally:
            say(findings)
    print_json(to_json(result))
