"""Two runs on the pictures that both were evaluated on: scores, and words that one alone finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ocdnet.metrics import Counts
from ocdnet.report.bootstrap import difference_interval
from ocdnet.report.pictures import Album, Picture
from ocdnet.report.runs import Run
from ocdnet.report.strips import described, seen, size, strip
from ocdnet.report.tables import Gallery
from ocdnet.runs.explained import ExplainedImage, ExplainedLabel, read_explained
from ocdnet.runs.printed_report import PairCompared, WordsCompared
from ocdnet.runs.records import EvaluateResult, ImageScores

_MOST_PICTURES, _MOST_NAMED, _SHOWN = 4000, 20, 4
_FEW, _MOST_TEXTS = 20, 10**6

Words = dict[tuple[int, ...], ExplainedLabel]
"""Of a picture the texts that count, by their polygons."""


@dataclass(frozen=True)
class Pair:
    """A pair as it is printed, and its pictures.

    Attributes:
        row: what is printed.
        galleries: words that the first run alone finds, then those of the second alone; each as
            the first run sees it, and as the second does.
    """

    row: PairCompared
    galleries: list[Gallery]


@dataclass(frozen=True)
class _Difference:
    """A picture with texts that one run alone finds: how many, and the largest of them."""

    key: str
    words: int
    largest: tuple[int, ...]
    area: float


def pair(first: Run, second: Run, album: Album, notes: list[str]) -> Pair | None:
    """Compare two runs; None where they have no evaluated picture in common.

    Args:
        first: the run that the other one is compared with.
        second: that other one.
        album: draws the words.
        notes: what differs beside the models, or can't be compared, goes here.
    """
    of_first, of_second = first.scored, second.scored
    if of_first is None or of_second is None:
        return None
    names = f"{first.name} and {second.name}"
    notes += _conditions(first, second, of_first, of_second)
    by_name, common = _common(of_first, of_second)
    notes += _doubts(names, of_first, of_second, common, by_name=by_name)
    same = [(one, other) for one, other in common if one.gt_care == other.gt_care]
    if not same:
        return None
    counts = [_counts([own[side] for own in same]) for side in (0, 1)]
    hmeans = [Counts(*own.sum(axis=0).tolist()).hmean for own in counts]
    keys = {_key(one.image, by_name) for one, _ in same}
    folders = [run.evaluation.folder for run in (first, second) if run.evaluation]
    told, counts_of_words, ranked = _words(folders, keys, by_name)
    if told < len(keys):
        notes.append(
            f"{names}: words are told of {told:,} of these pictures. Of the others they are not in "
            f"explained.jsonl, or not among its first {_MOST_PICTURES:,}."
        )
    row = PairCompared(
        first=first.name,
        second=second.name,
        images=len(same),
        hmean_first=hmeans[0],
        hmean_second=hmeans[1],
        difference=hmeans[1] - hmeans[0],
        interval=difference_interval(counts[0], counts[1]),
        words=_printed(counts_of_words, ranked) if told else None,
    )
    wanted = {one.key for rows in ranked for one in rows[:_SHOWN]}
    views = [dict(_read(folder, wanted, by_name)) for folder in folders]
    return Pair(row, list(_galleries((first, second), ranked, views, album)))


def _conditions(
    first: Run, second: Run, one: EvaluateResult, other: EvaluateResult
) -> Iterator[str]:
    """What differs in how two models were evaluated: the difference of the scores has it, too."""
    pairs = (
        ("thresh", one.thresholds.thresh, other.thresholds.thresh),
        ("box_thresh", one.thresholds.box_thresh, other.thresholds.box_thresh),
        ("resize", one.resize, other.resize),
    )
    for name, value, another in pairs:
        if value != another and value is not None and another is not None:
            yield (
                f"{first.name} was evaluated with {name} {value}, {second.name} with {another}: "
                "their scores differ by that, too."
            )


def _common(
    first: EvaluateResult, second: EvaluateResult
) -> tuple[bool, list[tuple[ImageScores, ImageScores]]]:
    """Pictures of both by path; where no path is in both, by name. Whether by name comes first."""
    rows = [own.per_image or () for own in (first, second)]
    for by_name in (False, True):
        tables = [_unique(own, by_name) for own in rows]
        common = [(row, tables[1][key]) for key, row in tables[0].items() if key in tables[1]]
        if common:
            return by_name, common
    return False, []


def _unique(rows: Sequence[ImageScores], by_name: bool) -> dict[str, ImageScores]:
    """Rows by key; of those that share one none, since which is which is not known."""
    often = Counter(_key(row.image, by_name) for row in rows)
    return {
        key: row
        for row in rows
        if often[key := _key(row.image, by_name)] == 1
        and row.matched <= min(row.gt_care, row.det_care)
        and max(row.gt_care, row.det_care) < _MOST_TEXTS
    }


def _key(image: str, by_name: bool) -> str:
    return image.rpartition("/")[2] if by_name else image


def _doubts(
    names: str,
    first: EvaluateResult,
    second: EvaluateResult,
    common: Sequence[tuple[ImageScores, ImageScores]],
    *,
    by_name: bool,
) -> Iterator[str]:
    """What the common pictures leave out."""
    if first.per_image is None or second.per_image is None:
        yield f"{names}: a results.json lacks the scores of each picture, so no difference is told."
        return
    if not common:
        yield f"{names} were evaluated on different pictures: no difference is told."
        return
    if by_name:
        yield f"{names} were evaluated on other paths: pictures of one name are taken for one."
    if not len(common) == first.images == second.images:
        yield (
            f"{names} were evaluated on {first.images:,} and {second.images:,} pictures: compared "
            f"on the {len(common):,} that both have."
        )
    other = sum(one.gt_care != another.gt_care for one, another in common)
    if other:
        yield f"{names}: {other:,} pictures had other labels, and are left out."
    if 0 < len(common) - other < _FEW:
        yield f"{names}: of {len(common) - other} pictures the interval says little."


def _counts(rows: Sequence[ImageScores]) -> NDArray[np.int64]:
    """int64[N, 3]: matched, gt_care and det_care of each picture."""
    return np.array([(row.matched, row.gt_care, row.det_care) for row in rows], np.int64)


def _words(
    folders: Sequence[Path], keys: set[str], by_name: bool
) -> tuple[int, Counter[tuple[bool, bool]], tuple[list[_Difference], list[_Difference]]]:
    """How many pictures with these keys both explain; texts by who finds them; what one finds."""
    of_first = {key: _texts(image) for key, image in _read(folders[0], keys, by_name)}
    told, counts = 0, Counter[tuple[bool, bool]]()
    only: tuple[list[_Difference], list[_Difference]] = ([], [])
    for key, image in _read(folders[1], keys & of_first.keys(), by_name):
        texts, others = of_first.pop(key, None), _texts(image)
        if texts is None:  # the file has it twice
            continue
        told += 1
        found = {
            polygon: (label.role == "found", others[polygon].role == "found")
            for polygon, label in texts.items()
            if polygon in others
        }
        counts.update(found.values())
        for side, rows in enumerate(only):
            alone = [polygon for polygon, by in found.items() if by == (side == 0, side == 1)]
            if alone:
                largest = max(alone, key=size)
                rows.append(_Difference(key, len(alone), largest, size(largest)))
    for rows in only:
        rows.sort(key=lambda row: (-row.words, -row.area, row.key))
    return told, counts, only


def _printed(
    counts: Counter[tuple[bool, bool]], ranked: Sequence[Sequence[_Difference]]
) -> WordsCompared:
    first, second = (tuple(row.key for row in rows[:_MOST_NAMED]) for rows in ranked)
    return WordsCompared(
        both=counts[True, True],
        only_first=counts[True, False],
        only_second=counts[False, True],
        neither=counts[False, False],
        only_first_images=first,
        only_second_images=second,
    )


def _galleries(
    runs: tuple[Run, Run],
    ranked: Sequence[Sequence[_Difference]],
    views: Sequence[Mapping[str, ExplainedImage]],
    album: Album,
) -> Iterator[Gallery]:
    """The words that each run alone finds, as both see them."""
    for run, rows in zip(runs, ranked, strict=True):
        pictures = [
            _view(album, other.name, view[row.key], row.largest)
            for row in rows[:_SHOWN]
            for other, view in zip(runs, views, strict=True)
        ]
        words = sum(row.words for row in rows)
        if rows:
            yield Gallery(
                f"Only {run.name} finds: {words:,} texts in {len(rows):,} pictures",
                seen(pictures),
                f"The largest of them in up to {_SHOWN} pictures, as each run sees it.",
            )


def _read(folder: Path, keys: set[str], by_name: bool) -> Iterator[tuple[str, ExplainedImage]]:
    """The pictures of an evaluation that have one of some keys."""
    for image in read_explained(folder, _MOST_PICTURES):
        key = _key(image.image, by_name)
        if key in keys:
            yield key, image


def _texts(image: ExplainedImage) -> Words:
    return {label.polygon: label for label in image.labels if label.role != "ignored"}


def _view(album: Album, name: str, image: ExplainedImage, word: tuple[int, ...]) -> Picture:
    """A word as a run sees it."""
    own = _texts(image).get(word)
    if own is None:  # of a picture that the file has twice
        return strip(album, image, word, name)
    kind = f" ({own.kind.replace('_', ' ')})" if own.kind else ""
    about = f", {described(own)}" if size(word) else ""
    return strip(album, image, word, f"{name}: {own.role}{kind}{about}")
