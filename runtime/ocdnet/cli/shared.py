"""What several commands share: how we are called, the spec's option, the one document printed."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ocdnet.errors import UsageError
from ocdnet.install import PROGRAM, python
from ocdnet.ranks import is_rank_zero

_WIDTH = 100


def program() -> str:
    """The start of a command line that runs ocdnet, quoted for a shell.

    `ocdnet` where it is installed; where it runs from a skill's folder, what the launcher sets:
    `uv run --script /skill/scripts/ocdnet.py` or the like; else `python3 -m ocdnet` if that is
    how it was started.
    """
    started = getattr(sys.modules["__main__"], "__spec__", None)
    as_module = started is not None and started.name == "ocdnet.__main__"
    return os.environ.get(PROGRAM) or (f"{python()} -m ocdnet" if as_module else "ocdnet")


def spec_file_option(help_text: str) -> Callable[[Any], Any]:
    """TAO's `-e SPEC.yaml`."""
    return click.option(
        "-e",
        "--experiment_spec_file",
        "--experiment-spec-file",
        "spec_file",
        required=True,
        type=click.Path(path_type=Path),
        help=help_text,
    )


def pixel_size(text: str, option: str) -> tuple[int, int]:
    """Width and height of a text as 640x480.

    Raises:
        UsageError: it can't be read.
    """
    match = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text)
    if match is None:
        raise UsageError("bad-size", f"{option} can't be read", text, "WIDTHxHEIGHT, as in 640x480")
    return int(match[1]), int(match[2])


def print_json(document: Any) -> None:
    """The command's one document on stdout, of rank 0 alone."""
    if is_rank_zero():
        click.echo(laid_out(_strict(document)))


def _strict(value: Any) -> Any:
    """A document in what JSON has: of numbers that it lacks, the name."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    return [_strict(item) for item in value] if isinstance(value, list | tuple) else value


def laid_out(value: Any, indent: str = "") -> str:
    """A JSON value as text; what fits into a line stands in one: half the tokens for an agent."""
    flat = json.dumps(value, allow_nan=False, default=str)
    if not isinstance(value, dict | list) or len(indent) + len(flat) <= _WIDTH:
        return flat
    inner = f"{indent} "
    if isinstance(value, list):
        rows, ends = [laid_out(item, inner) for item in value], "[]"
    else:
        rows, ends = [f"{json.dumps(k)}: {laid_out(v, inner)}" for k, v in value.items()], "{}"
    return f"{ends[0]}\n" + ",\n".join(f"{inner}{row}" for row in rows) + f"\n{indent}{ends[1]}"
