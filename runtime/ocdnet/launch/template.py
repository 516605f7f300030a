"""The templates of what a scheduler reads, filled."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Any

from ocdnet.tree.yaml_io import inline_yaml

_TEMPLATES = Path(__file__).resolve().parent / "templates"


def fill(template: str, **values: Any) -> str:
    """The text of a template; `yaml` and `shell` quote a value."""
    from jinja2 import (  # noqa: PLC0415 - a third of a light command's time
        Environment,
        FileSystemLoader,
        StrictUndefined,
    )

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - no HTML: the filters quote for YAML and bash
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"yaml": inline_yaml, "shell": quote}
    return environment.get_template(template).render(values)
