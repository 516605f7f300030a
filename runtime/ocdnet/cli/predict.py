"""The `ocdnet predict` command."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from ocdnet.cli.ray_options import is_ray, ray_options, run_on_ray
from ocdnet.cli.shared import pixel_size, print_json
from ocdnet.errors import Interrupted, UsageError, UserError

if TYPE_CHECKING:
    from ocdnet.actions.predict import Request
    from ocdnet.runs.pages import PageRecord, PredictResult
    from ocdnet.runs.typed import Result
    from ocdnet.scale.work import Runner

_PATH = click.Path(path_type=Path)
_STDOUT = Path("-")
_RESIZE = ("auto", "fit", "tile", "stretch")


@click.command(
    epilog="""\b
Examples:
  ocdnet predict photo.jpg
  ocdnet predict photo.jpg --model model_best.pth
  ocdnet predict photos 'scans/*.pdf' --model best.pth --out found --draw
  cat photo.jpg | ocdnet predict - --model detector.onnx --json -"""
)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--model",
    metavar="MODEL",
    help="A .pth, .onnx, engine, or a name of `weights list`.  [default: the starter]",
)
@click.option("--out", metavar="DIR", help="Folder for predictions.jsonl, and for --draw.")
@click.option("--json", "json_file", type=_PATH, metavar="FILE|-", help="A line of JSON an image.")
@click.option("--coco", type=_PATH, metavar="FILE", help="A data set that pycocotools loads.")
@click.option("--crops", type=_PATH, metavar="DIR", help="<stem>_<number>.png of each region.")
@click.option(
    "--draw", is_flag=True, help="<stem>_overlay.jpg and _heatmap.jpg of each image, in --out."
)
@click.option("--recursive", is_flag=True, help="Search sub-folders; ** in patterns means them.")
@click.option("--reading-order", is_flag=True, help="Columns, then lines, then words.")
@click.option(
    "--resize",
    type=click.Choice(_RESIZE),
    default="auto",
    show_default=True,
    help="How images come to the network's size.",
)
@click.option("--size", metavar="WxH", help="The network's size.  [default: the model's]")
@click.option(
    "--thresh", type=float, help="Probability of a text pixel.  [default: the model's, else 0.3]"
)
@click.option(
    "--box-thresh", type=float, help="Lowest score of a region.  [default: the model's, else 0.55]"
)
@click.option(
    "--unclip-ratio", type=float, help="How far regions grow.  [default: the model's, else 1.5]"
)
@click.option("--polygon", is_flag=True, help="Polygons instead of quadrilaterals.")
@click.option("--batch-size", type=int, help="Images at once.  [default: the model's]")
@click.option("--threads", default=0, help="Threads.  [default: one a CPU]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@ray_options()
def predict(
    sources: tuple[str, ...],
    out: str | None,
    json_file: Path | None,
    coco: Path | None,
    crops: Path | None,
    draw: bool,
    recursive: bool,
    reading_order: bool,
    size: str | None,
    threads: int,
    **options: Any,
) -> None:
    """Find the text in images, without a spec.

    SOURCE is a file, a folder, a pattern in quotes, an http(s) address, or - for an image on stdin.
    Of PDF and TIFF files each page is an image. Without --out and --json the summary on stdout
    holds the polygons of the first ten images; with --json - stdout carries a line of JSON an image
    as it is done, and no summary. An image that can't be read is a warning and a line with its
    error; exit 4 where none could be read, or a SOURCE is missing.

    With --runner ray SOURCE may also be a URI (s3://, gs://), a Parquet file with a column of paths
    or bytes, or a tar of images; --out is a folder or URI that gets a row an image in parts. The
    same command again goes on with the parts that are not there.
    """
    options |= {"num_threads": threads, "size": pixel_size(size, "--size") if size else None}
    if is_ray(options):
        files = {"--json": json_file, "--coco": coco, "--crops": crops, "--draw": draw or None}
        target = _target(sources, out, [name for name, given in files.items() if given])
        found = {"recursive": recursive, "reading_order": reading_order}
        _print(_on_ray(options, {"sources": sources, "target": target} | found))
        return
    from ocdnet.actions.page_files import PageFiles
    from ocdnet.actions.predict import Request
    from ocdnet.runs.files import PREDICTIONS

    if draw and out is None:
        raise UsageError("draw-needs-out", "--draw needs a folder", expected="--out DIR")
    if out is not None and "://" in out:
        raise UsageError("needs-ray", "A URI for --out is Ray's", out, hint="Add --runner ray.")
    folder = None if out is None else Path(out)
    streams = json_file == _STDOUT
    written = None if streams else json_file
    if folder is not None and written is None:
        written = folder / PREDICTIONS
    outputs = ("overlay", "heatmap") if draw else ()
    page_files = PageFiles(folder, outputs, written, coco, crops)
    request = Request(sources, page_files, recursive, reading_order, options)
    if streams:
        with _one_line_errors():
            _run(request, _lines_to(sys.stdout))
    else:
        _print(_run(request, None))


def _print(result: Result) -> None:
    from ocdnet.runs.typed import to_json

    print_json(to_json(result))


def _target(sources: Sequence[str], out: str | None, files: Sequence[str]) -> str:
    """Where Ray's parts go; what it does not do is refused."""
    if out is None:
        raise UsageError("ray-needs-out", "--runner ray needs a folder", expected="--out DIR|URI")
    if files:
        raise UsageError(
            "not-by-ray",
            f"Ray writes rows alone, not {files[0]}",
            hint="`ocdnet predict` without --runner ray writes it.",
        )
    if "-" in sources:
        raise UsageError("not-by-ray", "Ray cannot read stdin", expected="paths or URIs")
    return out


def _on_ray(options: dict[str, Any], values: dict[str, Any]) -> Result:
    def run(runner: Runner, of_parts: dict[str, Any]) -> Result:
        from ocdnet.findings import Findings, collected
        from ocdnet.scale import detect

        request = detect.of_predict(options, **values, **of_parts)
        return detect.run(request, collected() or Findings(), runner)

    return run_on_ray(options, run)


def _run(request: Request, printed: Callable[[PageRecord], None] | None) -> PredictResult:
    """Its own logs, and whatever libraries print, go to stderr."""
    from ocdnet.actions.predict import run
    from ocdnet.cli.running import log_to_stderr
    from ocdnet.findings import collecting, say

    log_to_stderr()
    with contextlib.redirect_stdout(sys.stderr), collecting() as findings:
        try:
            return run(request, findings, sys.stdin.buffer, printed)
        finally:
            say(findings)


def _lines_to(stdout: IO[str]) -> Callable[[PageRecord], None]:
    from ocdnet.actions.page_records import line

    def add(record: PageRecord) -> None:
        try:
            stdout.write(line(record))
            stdout.flush()
        except BrokenPipeError as error:
            # Nothing can be said there any more, also not by Python as it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
            raise Interrupted("interrupted", "What read stdout has gone") from error

    return add


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    """Where stdout carries JSON lines, an error is the last of them."""
    try:
        yield
    except UserError as error:
        click.echo(f"error: {error.message}", err=True)
        click.echo(json.dumps({"error": error.to_dict()}, default=str))
        raise click.exceptions.Exit(error.exit_code) from error
