"""`ocdnet serve`: a detector behind HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ocdnet.cli.shared import pixel_size, print_json
from ocdnet.hardware import cpus
from ocdnet.install import require

_NEEDS = "ocdnet serve needs Starlette, uvicorn and python-multipart"
_MOST_WORKERS = 8
_COUNT = click.IntRange(min=1)
_RESIZE = click.Choice(["auto", "fit", "tile", "stretch"])


def _option(name: str, default: Any, kind: Any, help_text: str) -> Callable[[Any], Any]:
    shown = default is not None
    return click.option(name, default=default, show_default=shown, type=kind, help=help_text)


@click.command(epilog="Example: ocdnet serve detector.onnx --port 8000")
@click.argument("model")
@_option("--host", "127.0.0.1", str, "Address to listen at; 0.0.0.0: every one of this machine.")
@_option("--port", 8000, click.IntRange(0, 65535), "Port; 0: any that is free.")
@_option("--workers", None, _COUNT, "Pictures in work at once.  [default: one a CPU, up to 8]")
@_option("--batch", 1, _COUNT, "Pictures through the network together, where more wait.")
@_option("--device", "auto", str, "auto, cpu, cuda or cuda:N.")
@_option("--resize", "auto", _RESIZE, "How a picture comes to the network's size.")
@_option("--size", None, str, "The network's size as WxH.  [default: the model's]")
@_option("--thresh", None, float, "Probability of a text pixel.  [default: the model's, else 0.3]")
@_option("--box-thresh", None, float, "Lowest score.  [default: the model's, else 0.55]")
@_option("--unclip-ratio", None, float, "How far regions grow.  [default: the model's, else 1.5]")
@click.option("--polygon", is_flag=True, help="Polygons instead of quadrilaterals.")
@_option("--queue", 64, _COUNT, "Pictures held at once; more are answered 503.")
@_option("--timeout", 30.0, click.FloatRange(min=0.1), "Seconds from a request to its answer.")
@_option("--max-body", 32, _COUNT, "Megabytes of a request.")
@_option("--max-megapixels", 64, _COUNT, "Megapixels of a picture.")
def serve(
    model: str,
    host: str,
    port: int,
    workers: int | None,
    batch: int,
    queue: int,
    timeout: float,
    max_body: int,
    max_megapixels: int,
    size: str | None,
    **detector: Any,
) -> None:
    """Find text in pictures that are sent over HTTP, and on a page.

    POST /detect takes an image file as its body, or a form of files, and answers with polygons
    and scores. GET /health, /metrics (for Prometheus), and / for a page on which a picture is
    dropped and its boxes are seen. Only this machine is listened to, unless --host says more.

    Ctrl-C or SIGTERM ends it when the last requests are answered; then one JSON object tells how
    many there were.
    """
    for package in ("starlette", "uvicorn", "python_multipart"):
        require(package, _NEEDS, "serve")
    from ocdnet.cli.running import log_to_stderr
    from ocdnet.detector import Detector
    from ocdnet.runs.typed import to_json
    from ocdnet.serve.limits import Limits
    from ocdnet.serve.server import Server

    log_to_stderr()
    pixels = pixel_size(size, "--size") if size else None
    workers = workers or min(_MOST_WORKERS, cpus())
    # A network on one thread each does twice the work of one on all of them (ADR 10).
    threads = max(1, cpus() // workers)
    server = Server(
        model,
        lambda: Detector(model, size=pixels, batch_size=batch, num_threads=threads, **detector),
        host=host,
        port=port,
        workers=workers,
        batch=batch,
        limits=Limits(max_body, max_megapixels, queue, timeout),
    )
    print_json(to_json(server.run()))
