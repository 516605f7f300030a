"""Tables and galleries of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ocdnet.report.pictures import Picture


@dataclass(frozen=True)
class Table:
    """Rows of texts below their headers; the first of a row names it."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Gallery:
    """Pictures of one kind, and what the kind means."""

    title: str
    pictures: list[Picture]
    about: str = ""
