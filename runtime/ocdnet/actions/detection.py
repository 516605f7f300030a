"""What evaluate and inference share: model file, post-processor, one pass over images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from ocdnet.config.shared import PostProcessing
from ocdnet.errors import EnvironmentFault
from ocdnet.postprocess import DBPostprocessor

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
    """The items, counted on a progress bar on stderr (shown on terminals only)."""
    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield from bar.track(items, total=total, description=label)
