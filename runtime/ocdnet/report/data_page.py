"""The page of `ocdnet data check`: histograms, the strangest pictures, settings."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ocdnet.data.label_reader import Region
from ocdnet.data.measures import (
    BEYOND,
    MOST_IGNORED,
    MOST_WORDS,
    SMALLEST,
    STEEPEST,
    Measures,
    Strange,
)
from ocdnet.files import write_text
from ocdnet.geometry import Points
from ocdnet.report.charts import Chart, histogram
from ocdnet.report.page import PICTURE_BYTES, rendered
from ocdnet.report.pictures import Album, Draw, Picture
from ocdnet.report.tables import Gallery, Table
from ocdnet.runs.printed_data import DataChecked, SetChecked
from ocdnet.tree.yaml_io import inline_yaml
from ocdnet.visualize import draw_labels

_EACH, _PAIRS, _SETS = 4, 4, 6
"""Pictures of a kind, groups of alike ones, and sets whose pictures are shown."""
_CLOSE = (SMALLEST, STEEPEST)
"""Kinds of which only the part with labels is shown."""
_CAPTIONS = {
    MOST_WORDS: lambda value: f"{value:.0f} words",
    SMALLEST: lambda value: f"words of {-value:.0f} pixels on average",
    STEEPEST: lambda value: f"words at {value:.0f} degrees on average",
    MOST_IGNORED: lambda value: f"{value:.0f} ignored regions",
    BEYOND: lambda value: f"labels reach {value:.0f} pixels beyond",
}


@dataclass(frozen=True)
class Part:
    """What the page shows of a set."""

    row: SetChecked
    facts: list[tuple[str, str]]
    charts: list[Chart]
    sizes: Table
    galleries: list[Gallery]


def write_data_page(
    out: Path, checked: DataChecked, measures: Sequence[Measures], program: str
) -> None:
    """Write one page of HTML about sets that were checked; it needs no network, runs no script.

    Args:
        out: the file.
        checked: what was found.
        measures: of each set.
        program: the start of a command line, quoted for a shell.

    Raises:
        UserError: the file can't be written, as `ocdnet.files.replacing`.
    """
    shown = min(_SETS, len(measures))
    # The alike ones have their share first; what they leave is the sets'.
    album = Album(PICTURE_BYTES // (shown + 1))
    alike = Gallery("Pairs", list(_alike(checked, album)))
    parts: list[Part] = []
    for row, one in zip(checked.data, measures, strict=True):
        album.left = max(0, album.left) + (PICTURE_BYTES // (shown + 1))
        parts.append(_part(row, one, album, show=len(parts) < shown))
    settings = [(one.key, inline_yaml(one.value), one.why) for one in checked.settings]
    sets = "".join(f" \\\n  --set {shlex.quote(one)}" for one in checked.set)
    page = rendered(
        "data.html.j2",
        checked=checked,
        parts=parts,
        alike=alike,
        settings=settings,
        command=f"{program} plan --action train --train-dataset PATH{sets}",
    )
    write_text(out, page)


def _part(row: SetChecked, measures: Measures, album: Album, *, show: bool) -> Part:
    return Part(
        row=row,
        facts=list(_facts(row)),
        charts=list(_charts(row)),
        sizes=Table(
            ["width x height", "pictures"],
            [[f"{size.width} x {size.height}", str(size.images)] for size in row.sizes],
        ),
        galleries=list(_galleries(measures, album)) if show else [],
    )


def _facts(row: SetChecked) -> Iterator[tuple[str, str]]:
    yield "pictures", f"{row.images:,}"
    yield "without text", f"{row.empty_images:,}"
    yield "words", f"{row.words:,}"
    yield "ignored regions", f"{row.ignored:,} ({row.ignored_share:.0%})"
    if row.heights:
        yield "words' height", f"{row.heights.p10:g} to {row.heights.p90:g} pixels (8 of 10)"
    if row.alike_images is not None:
        yield "nearly the same", f"{row.alike_images:,}"
    yield "can't be read", f"{row.errors_count:,}"


def _charts(row: SetChecked) -> Iterator[Chart]:
    shown = (
        ("Height of words", "pixels", row.heights, "words"),
        ("Words a picture", "words", row.words_per_image, "pictures"),
        ("Angle of words", "degrees, clockwise", row.angles, "words"),
        ("Length of words", "pixels", row.lengths, "words"),
    )
    for title, over, spread, unit in shown:
        if spread:
            yield histogram(title, over, spread.edges, spread.counts, unit)


def _galleries(measures: Measures, album: Album) -> Iterator[Gallery]:
    for kind in (BEYOND, SMALLEST, STEEPEST, MOST_WORDS, MOST_IGNORED):
        some = measures.strangest(kind)[:_EACH]
        if some:
            yield Gallery(kind, [_picture(one, kind, album) for one in some])


def _picture(one: Strange, kind: str, album: Album) -> Picture:
    draw = _drawing(one.regions, close=kind in _CLOSE)
    return album.picture(one.image, _CAPTIONS[kind](one.value), draw)


def _drawing(regions: list[Region], *, close: bool) -> Draw:
    """Draws these labels, and cuts out the part of the picture that has them."""

    def draw(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
        words: list[Points] = []
        ignored: list[Points] = []
        for values, _, tagged, flat in regions:
            polygon = np.array(values, np.float32).reshape(-1, 2) * factor
            (ignored if tagged or flat else words).append(polygon)
        drawn = draw_labels(image, words, ignored)
        return _around(drawn, np.concatenate(words)) if close else drawn

    return draw


def _around(image: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The part of an image with some points and as much again around them."""
    low, high = points.min(axis=0), points.max(axis=0)
    margin = max(20, int((high - low).max() / 2))
    left, top = (max(0, int(value) - margin) for value in low)
    right, bottom = (int(value) + margin for value in high)
    part = image[top:bottom, left:right]
    return part if part.size else image


def _alike(checked: DataChecked, album: Album) -> Iterator[Picture]:
    """The first two pictures of the first groups, those of several paths before others."""
    groups = [*checked.shared, *(group for row in checked.data for group in row.alike)]
    for number, group in enumerate(groups[:_PAIRS], start=1):
        for image in group[:2]:
            yield album.picture(image, f"pair {number}: {image}", lambda picture, _: picture)
