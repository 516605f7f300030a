"""What was found in a picture, as a line of JSON."""

from __future__ import annotations

from typing import Annotated, Literal

from ocdnet.runs.printed import PageFileNames, Problem
from ocdnet.runs.typed import Count, Record, Result, SchemaVersion, Size, Unit, record


@record
class Region(Record):
    """A region of text."""

    polygon: Annotated[tuple[tuple[float, float], ...], Size(least=3)]
    """Corners (x, y) in pixels of the picture; of four the first is where reading starts, and they
    run clockwise on the screen."""
    score: Unit
    """Mean probability of the region's kernel."""
    crop: str | None = None
    """File of the region's crop, below the folder of crops."""


@record
class PageRecord(Record):
    """A picture, or a page of a document."""

    schema_version: SchemaVersion = 1
    image: str | None = None
    """Its path, its file's name, its address, or `stdin`."""
    page: Count | None = None
    """Of a document, from 0."""
    width: Count | None = None
    height: Count | None = None
    regions: tuple[Region, ...] = ()
    error: Problem | None = None
    """Why it could not be read."""


@record
class NotShown(Record):
    """How much of what was found a summary leaves out."""

    images: Count
    regions: Count


@record
class PredictResult(PageFileNames, Result):
    """Of predict."""

    action: Literal["predict"] = "predict"
    images: Count
    """How many were read: pages of documents count."""
    regions: Count
    """Regions of text in them."""
    skipped: tuple[str, ...]
    """The first of the images that could not be read."""
    skipped_images: Count
    model: str
    backend: str
    size: tuple[int, int]
    """Width and height of the network's input."""
    resize: str
    """How images came to that size."""
    pages: tuple[PageRecord, ...] | None = None
    """The first images, where nothing else holds their polygons."""
    not_shown: NotShown | None = None
    """What is found beyond `pages`."""


@record
class PartsResult(Result):
    """Of predict and inference on Ray."""

    action: str = "predict"
    images: Count
    """How many were read: pages of documents count. Those of earlier starts count, too."""
    regions: Count
    """Regions of text in them."""
    skipped: tuple[str, ...]
    """The first of the images that could not be read."""
    skipped_images: Count
    model: str
    parts: str
    """Pattern of the files of results: a row a picture, as schemas/page.schema.json has it."""
    partitions: Count
    """Number of these files."""
    partitions_before: Count
    """How many of them an earlier start had written."""
