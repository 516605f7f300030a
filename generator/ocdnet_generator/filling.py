"""Fills the Markdown templates under pages/."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def filled(name: str, **values: Any) -> str:
    """A template's text, without rows of empty lines."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "pages"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Markdown, not HTML
    )
    environment.filters["code"] = code
    text = environment.get_template(f"{name}.j2").render(**values)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def code(items: Iterable[str]) -> str:
    """Names as Markdown's code, with commas."""
    return ", ".join(f"`{item}`" for item in items)
