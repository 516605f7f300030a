"""`ocdnet serve`: a detector behind HTTP."""

from __future__ import annotations

import click

from ocdnet.cli.shared import print_json
from ocdnet.install import require

_NEEDS = "ocdnet serve needs Starlette, uvicorn and python-multipart"
_COUNT = click.IntRange(min=1)


@click.command(
    epilog="Example: ocdnet serve detector.onnx --port 8000, then "
    "curl --data-binary @photo.jpg http://127.0.0.1:8000/detect"
)
@click.argument("model")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; 0.0.0.0: at every address.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option("--workers", type=_COUNT, help="Threads that run the network.")
@click.option("--batch", default=1, show_default=True, type=_COUNT, help="Pictures through the network at once, where that many wait.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--resize", default="auto", show_default=True, type=click.Choice(["auto", "fit", "tile", "stretch"]), help="How pictures come to the network's size.")
@click.option("--thresh", default=0.3, show_default=True, type=click.FloatRange(0, 1), help="Of a text pixel.")
@click.option("--box-thresh", default=0.55, show_default=True, type=click.FloatRange(0, 1), help="Of a region's score.")
@click.option("--queue", default=64, show_default=True, type=_COUNT, help="Pictures held at once; one more: 503.")
@click.option("--timeout", default=30.0, show_default=True, type=click.FloatRange(min=0.1), help="Seconds of a request.")
@click.option("--max-body", default=32, show_default=True, type=_COUNT, help="Megabytes of a request.")
@click.option("--max-megapixels", default=64, show_default=True, type=_COUNT, help="Of a picture.")
def serve(
    model: str, host: str, port: int, workers: int, batch: int, device: str, resize: str,
    thresh: float, box_thresh: float, queue: int, timeout: float, max_body: int, max_megapixels: int,
) -> None:
    """Answer pictures with the text in them, over HTTP.

    POST /detect takes an image file as its body, or a form of files; /health, /metrics
    (Prometheus) and a page at / that shows the boxes of a picture dropped on it. Loopback alone
    by default. Prints one JSON object when SIGTERM or Ctrl-C has ended it and the requests in
    flight are answered: requests by status, pictures.
    """
    for module in ("starlette", "uvicorn", "python_multipart"):
        require(module, _NEEDS, "serve")
    from ocdnet.detector import Detector
    from ocdnet.runs.typed import to_json
    from ocdnet.serve.limits import Limits
    from ocdnet.serve.server import Server

    def opens() -> Detector:
        return Detector(
            model, device=device, resize=resize, thresh=thresh, box_thresh=box_thresh,
            batch_size=batch,
        )

    limits = Limits(max_body, max_megapixels, queue, timeout)
    server = Server(model, opens, host=host, port=port, workers=workers, batch=batch, limits=limits)
    print_json(to_json(server.run()))
