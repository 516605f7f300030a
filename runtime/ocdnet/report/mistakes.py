"""What a page tells of an evaluation's mistakes: how many of each kind, and how they look."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ocdnet.mistake_kinds import FALSE_KINDS, MISS_KINDS
from ocdnet.report.charts import Chart, Dots, histogram, parts, scatter
from ocdnet.report.pictures import Album, unseen
from ocdnet.report.strips import Shape, described, seen, size, strip
from ocdnet.report.tables import Gallery, Table
from ocdnet.runs.explained import (
    Curve,
    ExplainedImage,
    Groups,
    read_explained,
)
from ocdnet.runs.records import EvaluateResult

_MEANINGS = {
    "missed": "the map shows no text there",
    "low_score": "a region is there, but its score is below box_thresh",
    "merged": "one box lies over several texts",
    "split": "several boxes lie on one text",
    "loose": "box and text overlap too little: IoU .3 to .5",
    "duplicate": "text or box has a match already, with another one",
    "on_ignored": "the box lies on ignored text",
    "no_text": "nothing is labelled there",
}
"""What a kind of `ocdnet.mistake_kinds` means, in brief."""
_NAMES = {kind: kind.replace("_", " ") for kind in _MEANINGS}
_EACH, _PLACES = 4, 9
_MOST_PICTURES = 4000
_SHARE = 0.6
"""Of the room that a page has left for pictures: the strips' part."""
_STEP, _MOST_GROUPS = 0.05, 50


@dataclass(frozen=True, kw_only=True)
class MistakePart:
    """The part of a page that shows why an evaluation scored what it did.

    Attributes:
        kinds: how many mistakes of each kind.
        strips: words of each kind.
        about: what is not shown, or can't be.
        charts: recall by height, angle and length; the curve; scores of boxes.
        place: recall in each ninth of the pictures, row by row: text, and percent.
        tables: the numbers of the charts.
    """

    kinds: Table | None = None
    strips: list[Gallery] = field(default_factory=list)
    about: list[str] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    place: list[tuple[str, int]] = field(default_factory=list)
    tables: list[tuple[str, Table]] = field(default_factory=list)


def mistake_part(result: EvaluateResult, folder: Path, album: Album) -> MistakePart:
    """What to show of an evaluation, as far as it explained itself.

    Args:
        result: of the evaluation.
        folder: where explained.jsonl is.
        album: draws the strips.
    """
    of_others = int(album.left * (1 - _SHARE))
    album.left -= of_others
    strips, about = _strips(result, folder, album)
    album.left += of_others
    return MistakePart(
        kinds=_kinds(result),
        strips=strips,
        about=about,
        charts=list(_charts(result)),
        place=_place(result),
        tables=list(_tables(result)),
    )


def _kinds(result: EvaluateResult) -> Table | None:
    if result.mistakes is None:
        return None
    misses: dict[str, int] = {kind: getattr(result.mistakes.misses, kind) for kind in MISS_KINDS}
    false: dict[str, int] = {
        kind: getattr(result.mistakes.false_alarms, kind) for kind in FALSE_KINDS
    }
    counts = [(kind, misses.get(kind), false.get(kind)) for kind in _MEANINGS]
    counts.sort(key=lambda row: -((row[1] or 0) + (row[2] or 0)))
    rows = [
        [_NAMES[kind], *("" if n is None else f"{n:,}" for n in numbers), _MEANINGS[kind]]
        for kind, *numbers in counts
    ]
    sums = [f"{sum(own.values()):,}" for own in (misses, false)]
    return Table(
        ["kind", "texts not found", "false alarms", "what it means"], [*rows, ["all", *sums, ""]]
    )


def _strips(result: EvaluateResult, folder: Path, album: Album) -> tuple[list[Gallery], list[str]]:
    """The largest words of each kind, one a picture, and what to say of them."""
    largest: dict[tuple[str, str], list[tuple[float, int, Shape, ExplainedImage]]] = {}
    counts: Counter[tuple[str, str]] = Counter()
    read = 0
    for read, image in enumerate(read_explained(folder, _MOST_PICTURES), start=1):
        counts.update((one.role, one.kind) for one in _wrongs(image) if one.kind is not None)
        for key, (area, one) in _largest(image).items():
            kept = largest.setdefault(key, [])
            # No two have the same number, so that nothing else is compared.
            heapq.heappush(kept, (area, -read, one, image))
            if len(kept) > _EACH:
                heapq.heappop(kept)
    before = len(album.gone), album.left_out
    galleries = [
        Gallery(
            f"{'Not found' if role == 'missed' else 'False alarm'}: {_NAMES[kind]} "
            f"({counts[role, kind]:,})",
            seen(
                [
                    strip(album, image, one.polygon, described(one))
                    for _, _, one, image in sorted(kept, key=lambda row: row[:2], reverse=True)
                ]
            ),
            _MEANINGS[kind],
        )
        for (role, kind), kept in sorted(largest.items(), key=lambda row: -counts[row[0]])
    ]
    about = [*_about(read, result), *unseen(album, *before)]
    return [one for one in galleries if one.pictures], about


def _wrongs(image: ExplainedImage) -> Iterator[Shape]:
    yield from (label for label in image.labels if label.role == "missed")
    yield from (region for region in image.regions if region.role == "false")


def _largest(image: ExplainedImage) -> dict[tuple[str, str], tuple[float, Shape]]:
    """Of each kind of mistake in a picture the one that covers most."""
    found: dict[tuple[str, str], tuple[float, Shape]] = {}
    for one in _wrongs(image):
        if one.kind is not None and (area := size(one.polygon)) > 0:
            key = (one.role, one.kind)
            if key not in found or area > found[key][0]:
                found[key] = (area, one)
    return found


def _about(read: int, result: EvaluateResult) -> Iterator[str]:
    if result.explained is not None and not read:
        yield "explained.jsonl is not here any more, or empty: no word can be shown."
    elif read and read < result.images:
        yield f"The words are of the first {read:,} of {result.images:,} pictures."


def _charts(result: EvaluateResult) -> Iterator[Chart]:
    for title, over, groups in _grouped(result):
        yield parts(title, over, groups.bounds, groups.texts, groups.found)
    if (curve := _curve(result)) is not None:
        yield curve
    scores = result.box_scores
    if scores is not None and _even(scores.matched, scores.unmatched):
        thresh = result.thresholds.box_thresh
        yield histogram(
            "Scores of boxes",
            "score",
            [round(_STEP * n, 2) for n in range(len(scores.matched))],
            scores.matched,
            "boxes",
            hollow=scores.unmatched,
            kinds=("on text", "elsewhere"),
            mark=(min(thresh / _STEP, len(scores.matched)), f"box_thresh {thresh:g}"),
        )


def _grouped(result: EvaluateResult) -> Iterator[tuple[str, str, Groups]]:
    by = result.recall_by
    if by is not None:
        for title, over, groups in (
            ("Recall by height", "short side in pixels", by.height),
            ("Recall by angle", "degrees from the horizontal", by.angle),
            ("Recall by length", "long side / short side", by.length),
        ):
            if _even(groups.texts, groups.found, groups.bounds):
                yield title, over, groups


def _even(counts: Sequence[int], *others: Sequence[float]) -> bool:
    """Whether something was counted, and the columns fit each other: the file is anybody's."""
    return any(counts) and all(len(other) == len(counts) <= _MOST_GROUPS for other in others)


def curve_points(result: EvaluateResult) -> list[tuple[float, float, str]]:
    """Recall, precision and text of each box_thresh with which anything is found."""
    return [
        (recall, precision, f"box_thresh {at:g}: precision {precision:.3f}, recall {recall:.3f}")
        for at, precision, recall, _ in (_rows(result.curve) if result.curve else ())
        if recall > 0
    ]


def _curve(result: EvaluateResult) -> Chart | None:
    points = curve_points(result)
    if not points:
        return None
    thresh = f"box_thresh {result.thresholds.box_thresh:g}"
    own = (result.recall, result.precision, f"{thresh}, as evaluated: hmean {result.hmean:.4f}")
    return scatter(
        "Precision (up) over recall",
        "recall",
        [Dots("other box_thresh", points, joined=True), Dots(f"{thresh}, as evaluated", [own])],
        shares=True,
    )


def _rows(curve: Curve) -> list[tuple[float, float, float, float]]:
    columns = (curve.box_thresh, curve.precision, curve.recall, curve.hmean)
    return list(zip(*columns, strict=False))[:_MOST_GROUPS]


def _place(result: EvaluateResult) -> list[tuple[str, int]]:
    by = result.recall_by
    if by is None or not _even(by.place.texts, by.place.found, range(_PLACES)):
        return []
    return [
        (f"{found / texts:.0%}, {found} of {texts}", round(100 * found / texts))
        if texts
        else ("no text", 0)
        for texts, found in zip(by.place.texts, by.place.found, strict=True)
    ]


def _tables(result: EvaluateResult) -> Iterator[tuple[str, Table]]:
    """What the charts show, in numbers."""
    for title, over, groups in _grouped(result):
        rows = [
            [f"{low:g} or more", str(texts), str(found), f"{found / texts:.3f}" if texts else ""]
            for low, texts, found in zip(groups.bounds, groups.texts, groups.found, strict=True)
        ]
        yield title, Table([over, "texts", "found", "recall"], rows)
    if (curve := result.curve) is not None:
        rows = [[f"{at:g}", *(f"{one:.4f}" for one in values)] for at, *values in _rows(curve)]
        yield (
            "Other values of box_thresh",
            Table(["box_thresh", "precision", "recall", "hmean"], rows),
        )
