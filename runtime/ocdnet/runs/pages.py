"""What was found in a picture, as a line of JSON."""

from __future__ import annotations

from typing import Annotated

from ocdnet.runs.printed import Problem
from ocdnet.runs.typed import Count, Record, SchemaVersion, Size, Unit, record


@record
class Region(Record):
    """A region of text."""

    polygon: Annotated[tuple[tuple[float, float], ...], Size(least=3)]
    """Corners (x, y) in pixels of the picture; of four the first is where reading starts, and they
    run clockwise on the screen."""
    score: Unit
    """Mean probability of the region's kernel."""


@record
class PageRecord(Record):
    """A picture, or a page of a document."""

    schema_version: SchemaVersion = 1
    image: str | None = None
    """Its path or its file's name."""
    page: Count | None = None
    """Of a document, from 0."""
    width: Count | None = None
    height: Count | None = None
    regions: tuple[Region, ...] = ()
    error: Problem | None = None
    """Why it could not be read."""
