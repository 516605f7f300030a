"""The order in which a reader goes through words: columns, lines, and words within a line.

Columns are found by projection (the recursive X-Y cut of Nagy and Seth, 1984): where a gap as wide
as a line is high goes through several rows, each side of it is read on its own. Text is read from
left to right and from top to bottom.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ocdnet.geometry import Points, min_area_quad, order_quad

_Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom after the page was turned upright."""


class _Piece(NamedTuple):
    """Boxes that cover an axis from a start to an end without a gap."""

    start: float
    end: float
    indices: list[int]


_GUTTER = 0.7
"""Narrowest gap between columns, in heights of the typical box. Unclipped boxes of the words of a
line nearly touch; those of two columns keep their distance."""
_CORE = 0.25
"""Share of a box's height, or of the typical one's if that is less, that is taken off above and
below before rows are told apart: boxes grown by unclipping reach into the neighbouring lines."""
_ELONGATED = 1.5
"""Boxes this many times as wide as high tell how the lines are tilted."""
_SAME_LINE = 0.5
"""Two boxes stand in one line if they share this much of the lower one's height."""


def reading_order(polygons: Sequence[Points]) -> list[int]:
    """Indices of the polygons in the order of reading.

    A tilted page is turned upright first, by the direction of most of its words; boxes of lines
    that rise or fall gently, or follow a curve, stay in their line.

    Args:
        polygons: [N, 2] each, N >= 1, in pixels.
    """
    if not polygons:
        return []
    boxes = _upright(polygons)
    heights = sorted(bottom - top for _, top, _, bottom in boxes)
    return list(_read(list(range(len(boxes))), boxes, heights[len(heights) // 2]))


def _upright(polygons: Sequence[Points]) -> list[_Box]:
    """The boxes around the polygons on a page that is turned by the words' direction."""
    quads = np.stack([order_quad(min_area_quad(points)[0]) for points in polygons])
    along, down = quads[:, 1] - quads[:, 0], quads[:, 3] - quads[:, 0]
    width, height = np.hypot(*along.T), np.hypot(*down.T)
    wide = width > _ELONGATED * height
    angle = _weighted_median(np.arctan2(along[wide, 1], along[wide, 0]), width[wide])
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    rows = [np.asarray(points, np.float64) @ turn for points in polygons]
    return [(*row.min(axis=0).tolist(), *row.max(axis=0).tolist()) for row in rows]


def _weighted_median(values: NDArray[np.float32], weights: NDArray[np.float32]) -> float:
    """0.0 of nothing."""
    if not len(values):
        return 0.0
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def _read(indices: list[int], boxes: Sequence[_Box], height: float) -> Iterator[int]:
    """The order of some of the boxes: as many rows as share a gutter are read column by column.

    Args:
        indices: of the boxes.
        boxes: of the page.
        height: of the page's typical box.
    """
    rows = _joined(_Piece(*_core(boxes[index], height), [index]) for index in indices)
    first, gutter = 0, _GUTTER * height
    while first < len(rows):
        columns = _columns(rows[first], boxes, gutter)
        first += 1
        while len(columns) > 1 and first < len(rows):
            more = _joined(columns + _columns(rows[first], boxes, gutter), gutter)
            if len(more) == 1:
                break
            columns = more
            first += 1
        if len(columns) == 1:
            yield from _lines(columns[0].indices, boxes)
        else:
            for column in columns:
                yield from _read(column.indices, boxes, height)


def _core(box: _Box, height: float) -> tuple[float, float]:
    margin = _CORE * min(height, box[3] - box[1])
    return box[1] + margin, box[3] - margin


def _columns(row: _Piece, boxes: Sequence[_Box], gutter: float) -> list[_Piece]:
    pieces = (_Piece(boxes[index][0], boxes[index][2], [index]) for index in row.indices)
    return _joined(pieces, gutter)


def _joined(pieces: Iterable[_Piece], gap: float = 0.0) -> list[_Piece]:
    """What is left in one piece where the projection has gaps wider than `gap`, in its order."""
    joined: list[_Piece] = []
    for piece in sorted(pieces):
        if not joined or piece.start > joined[-1].end + gap:
            joined.append(_Piece(piece.start, piece.end, [*piece.indices]))
        else:
            last = joined[-1]
            last.indices.extend(piece.indices)
            joined[-1] = last._replace(end=max(last.end, piece.end))
    return joined


def _lines(indices: Sequence[int], boxes: Sequence[_Box]) -> Iterator[int]:
    """Boxes without columns: from left to right each joins the line whose last box it is beside.

    Only the last box counts, as a line may rise, fall or bend.
    """
    lines: list[list[int]] = []
    for index in sorted(indices, key=lambda index: boxes[index][0] + boxes[index][2]):
        shares = [_shared_height(boxes[line[-1]], boxes[index]) for line in lines]
        best = max(shares, default=0.0)
        if best >= _SAME_LINE:
            lines[shares.index(best)].append(index)
        else:
            lines.append([index])
    for line in sorted(lines, key=lambda line: _middle([boxes[index] for index in line])):
        yield from line


def _shared_height(one: _Box, other: _Box) -> float:
    """Overlap of two boxes' heights as a share of the lower box's height."""
    overlap = min(one[3], other[3]) - max(one[1], other[1])
    lower = min(one[3] - one[1], other[3] - other[1])
    return overlap / lower if lower > 0 else 0.0


def _middle(line: Sequence[_Box]) -> float:
    return sum(top + bottom for _, top, _, bottom in line) / len(line)
