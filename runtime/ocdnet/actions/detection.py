"""What evaluate and inference share: model file, post-processor, one pass over images."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from ocdnet.config.shared import PostProcessing
from ocdnet.errors import EnvironmentFault
from ocdnet.postprocess import DBPostprocessor

LOG = logging.getLogger("ocdnet")
QUIET_SECONDS = 30.0
"""Longest silence where no terminal shows a progress bar."""

T = TypeVar("T")


def model_file(checkpoint: str, engine: str) -> Path:
    """The model that a section names.

    Raises:
        EnvironmentFault: it names a TensorRT engine, which this release does not run.
    """
    if engine:
        raise EnvironmentFault(
            "not-built-yet",
            "TensorRT engines are not available in this release",
            got=engine,
            expected="a .pth or .onnx file as checkpoint",
            hint="Export the checkpoint and give the .onnx file as checkpoint.",
        )
    return Path(checkpoint)


def postprocessor(config: PostProcessing, polygon: bool) -> DBPostprocessor:
    """The post-processor of a section."""
    args = config.args
    return DBPostprocessor(
        args.thresh, args.box_thresh, args.max_candidates, args.unclip_ratio, polygon
    )


def tracked(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    """The items, counted on stderr: by a bar on a terminal, else by a line now and then."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield from _told(items, label, total)
        return
    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        yield from bar.track(items, total=total, description=label)


def _told(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    told = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - told > QUIET_SECONDS:
            told = time.monotonic()
            LOG.info("%s: %d of %d images", label, done, total)
