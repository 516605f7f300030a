"""What `ocdnet data check` finds in one or several sets, and what it makes of it."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np

from ocdnet.data.alike import Hashes, alike_groups
from ocdnet.data.annotations import is_sound
from ocdnet.data.faults import as_one
from ocdnet.data.layout import HELD_OUT_PARTS
from ocdnet.data.listing import Pairs, list_pairs
from ocdnet.data.look import look
from ocdnet.data.measures import Measures, quantile
from ocdnet.data.mend import Mended, mend
from ocdnet.data.new_folder import new_folder
from ocdnet.data.pictures import decoded, hashes_of
from ocdnet.errors import DataError
from ocdnet.findings import Finding, collecting
from ocdnet.policy.artifacts import Skill
from ocdnet.policy.data_settings import data_settings, overrides
from ocdnet.progress_bar import tracked
from ocdnet.runs.printed import Problem
from ocdnet.runs.printed_data import (
    DataChecked,
    MendedCopy,
    SetChecked,
    SetNumbers,
    SizeCount,
    Spread,
    Verdict,
)
from ocdnet.runs.typed import warned

KEY = "data_path"
_SHOWN = 10
_PIXELS = (0, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024)
_WORDS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)
_ANGLES = (-90, -75, -60, -45, -30, -15, -5, 5, 15, 30, 45, 60, 75)
_TINY, _MANY = 4, 0.1
"""Pixels of a word's height that no setting makes legible, and a share that is worth a look."""
_HALF = 0.5
_MOSTLY_IGNORED = 0.75
_WRONG = ("relative-label", "zero-label", "label-outside")
"""Doubts that, of half of the regions, mean that the labels are no labels of these pictures."""


@dataclass
class Checked:
    """A set that was looked at.

    Attributes:
        path: as the user gave it.
        pairs: its images and labels.
        measures: its numbers.
        listing_errors: of images without a label file.
        label_errors: of labels that can't be read.
        picture_errors: of pictures that can't be read, by their place among the pairs.
        findings: what is doubtful.
        hashes: of its pictures; None: they were not decoded.
        places: of those pictures among the pairs.
    """

    path: str
    pairs: Pairs
    measures: Measures
    listing_errors: list[DataError]
    label_errors: list[DataError]
    findings: list[Finding]
    picture_errors: dict[int, DataError]
    hashes: Hashes | None = None
    places: Sequence[int] = ()

    @property
    def errors(self) -> list[DataError]:
        """All of them."""
        return [*self.listing_errors, *self.label_errors, *self.picture_errors.values()]


class Progress:
    """Pairs that show on the terminal how far their reading is."""

    def __init__(self, pairs: Pairs, label: str) -> None:
        self._pairs, self._label = pairs, label

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return tracked(self._pairs, self._label, len(self._pairs))


def looked_at(path: str, tags: Iterable[str], *, decode: bool) -> Checked:
    """Read a set's labels and, if it is to `decode` them, its pictures; shows its progress.

    Raises:
        DataError: the path is no set.
    """
    listing: list[DataError] = []
    with collecting() as seen:
        pairs = list_pairs(path, KEY, listing)
        shown = Progress(pairs, "labels")
        measures, errors = look(shown, Measures, frozenset(tags), is_sound, KEY)
        result = Checked(path, pairs, measures, listing, errors, [], {})
        if decode:
            images = (image for image, _ in Progress(pairs, "pictures"))
            result.hashes, result.places, result.picture_errors = hashes_of(decoded(images))
    result.findings = seen.rows()
    return result


def numbers(one: Checked) -> SetNumbers:
    """The numbers of a set."""
    measures = one.measures
    ignored = measures.regions - measures.words
    return SetNumbers(
        path=one.path,
        images=measures.images,
        empty_images=measures.empty,
        regions=measures.regions,
        words=measures.words,
        ignored=ignored,
        ignored_share=round(ignored / measures.regions, 4) if measures.regions else 0.0,
        words_per_image=spread(measures.counts, _WORDS),
        heights=spread(measures.heights, _PIXELS),
        lengths=spread(measures.lengths, _PIXELS),
        angles=spread(measures.angles, _ANGLES),
        sizes=tuple(
            SizeCount(width=width, height=height, images=count)
            for (width, height), count in measures.sizes.most_common(_SHOWN)
        ),
        different_sizes=len(measures.sizes),
    )


def spread(counts: Counter[int], edges: Sequence[int]) -> Spread | None:
    """How numbers are spread, in columns between the edges and behind the last one."""
    if not counts:
        return None
    tenth, median, nine = (quantile(counts, share) for share in (0.1, 0.5, 0.9))
    columns = [0] * len(edges)
    for number, count in counts.items():
        columns[max(0, bisect_right(edges, number) - 1)] += count
    used = [place for place, count in enumerate(columns) if count]
    kept = slice(used[0], used[-1] + 1)
    return Spread(
        least=min(counts),
        p10=tenth,
        median=median,
        p90=nine,
        most=max(counts),
        edges=tuple(edges[kept]),
        counts=tuple(columns[kept]),
    )


def summed_up(sets: Sequence[Checked], skill: Skill) -> DataChecked:
    """Everything that was found in some sets, the verdict, and the settings that suit them."""
    groups = _alike(sets)
    shared = None if groups is None else [group for group in groups if len(_paths(group)) > 1]
    rows = tuple(_row(number, one, groups) for number, one in enumerate(sets))
    bad = [f"{one.path}: {reason}" for one in sets for reason in _unusable(one)]
    odd = [f"{one.path}: {reason}" for one in sets for reason in _odd(one)]
    shared_images = None if shared is None else sum(map(len, shared))
    if shared_images:
        odd.append(
            f"{shared_images} pictures nearly are one of another path: a test with what was trained"
            " on says nothing (`ocdnet data split` keeps them together)."
        )
    verdict: Verdict = "cannot be used" if bad else "look at" if odd else "good"
    held_out = [one for one in sets if Path(one.path).name.lower() in HELD_OUT_PARTS]
    train = [one for one in sets if one not in held_out] or list(sets)
    settings = data_settings(
        Measures.together(one.measures for one in train),
        Measures.together(one.measures for one in sets),
        skill,
    )
    return DataChecked(
        verdict=verdict,
        reasons=(*bad, *odd),
        data=rows,
        shared_images=shared_images,
        shared=_shown(shared or [], sets),
        settings=tuple(settings),
        set=tuple(overrides(settings, "train")),
    )


Group = list[tuple[int, int]]
"""Pictures that nearly are the same: numbers of the set, and of the pair in it."""


def _alike(sets: Sequence[Checked]) -> list[Group] | None:
    if any(one.hashes is None for one in sets):
        return None
    hashes = np.concatenate([one.hashes for one in sets if one.hashes is not None])
    starts = list(accumulate((len(one.places) for one in sets), initial=0))

    def owner(place: int) -> tuple[int, int]:
        number = bisect_right(starts, place) - 1
        return number, sets[number].places[place - starts[number]]

    groups = alike_groups(hashes)
    several = np.bincount(groups, minlength=1)[groups] > 1
    found: dict[int, Group] = {}
    for place in np.flatnonzero(several).tolist():
        found.setdefault(int(groups[place]), []).append(owner(place))
    return list(found.values())


def _paths(group: Group) -> set[int]:
    return {number for number, _ in group}


def _shown(groups: Sequence[Group], sets: Sequence[Checked]) -> tuple[tuple[str, ...], ...]:
    """The names of the first pictures of the first groups."""
    named = [group[:_SHOWN] for group in groups[:_SHOWN]]
    wanted = {pair for group in named for pair in group}
    names = {
        (number, place): image
        for number, one in enumerate(sets)
        for place, (image, _) in enumerate(one.pairs if wanted else ())
        if (number, place) in wanted
    }
    return tuple(tuple(names[pair] for pair in group) for group in named)


def _row(number: int, one: Checked, groups: list[Group] | None) -> SetChecked:
    """What is told of a set."""
    own = [[pair for pair in group if pair[0] == number] for group in groups or []]
    own = [[(0, place) for _, place in group] for group in own if len(group) > 1]
    return SetChecked(
        **vars(numbers(one)),
        errors=tuple(_problems(one.errors, len(one.pairs))),
        errors_count=len(one.errors),
        warnings=tuple(map(warned, one.findings)),
        alike_images=None if groups is None else sum(map(len, own)),
        alike=_shown(own, [one]),
    )


def _problems(errors: Sequence[DataError], total: int) -> Iterator[Problem]:
    """One error for all of a code."""
    for code in dict.fromkeys(error.code for error in errors):
        error = as_one([one for one in errors if one.code == code], max(total, len(errors)))
        yield Problem(**error.to_dict())


def _unusable(one: Checked) -> Iterator[str]:
    """Why no training or evaluation can use a set."""
    measures = one.measures
    way_out = "; --fix writes a copy without it" if measures.images else ""
    for problem in _problems(one.errors, len(one.pairs)):
        yield f"{problem.message}. A run stops there{way_out}."
    if not measures.images:
        yield "It has no picture whose labels can be read."
    elif measures.regions and not measures.words:
        yield f"All of its {measures.regions} regions are ignored."
    for row in one.findings:
        if _is_wrong(row, measures):
            yield row.message


def _is_wrong(row: Finding, measures: Measures) -> bool:
    return row.code in _WRONG and row.count >= _HALF * measures.regions


def _odd(one: Checked) -> Iterator[str]:
    """What somebody should look at before a set is used."""
    measures = one.measures
    for row in one.findings:
        if not _is_wrong(row, measures):
            number = "" if str(row.count) in row.message else f" ({row.count})"
            yield f"{row.message}{number}{f': {row.files[0]}' if row.files else ''}"
    ignored = measures.regions - measures.words
    if measures.words and ignored > _MOSTLY_IGNORED * measures.regions:
        yield f"{ignored} of {measures.regions} regions are ignored: little is left to learn from."
    if measures.empty > _HALF * measures.images:
        yield f"{measures.empty} of {measures.images} pictures have no text."
    tiny = sum(count for height, count in measures.heights.items() if height < _TINY)
    if tiny > _MANY * measures.words:
        yield f"{tiny} of {measures.words} words are lower than {_TINY} pixels: nothing finds them."


def mended(sets: Sequence[Checked], out: Path, tags: Sequence[str]) -> MendedCopy:
    """Write a mended copy of some sets: as `out` itself of one, each in a folder there of several.

    Raises:
        UsageError: `out` is not absent or empty.
        DataError: nothing would be left.
        RunError, EnvironmentFault: it can't be written.
    """
    results: dict[str, Mended] = {}
    with new_folder(out) as new:
        build, scratch = new.scratch / "set", new.scratch / "texts"
        scratch.mkdir()
        for one in sets:
            name = _name(one.path, results) if len(sets) > 1 else ""
            bad = {
                image for place, (image, _) in enumerate(one.pairs) if place in one.picture_errors
            }
            pairs = Progress(one.pairs, "copy")
            results[name] = mend(pairs, build / name, tags, bad, scratch)
        if not any(result.images for result in results.values()):
            raise DataError("nothing-left", "No picture can be mended", hint="See `errors`.")
        new.take(build)
    counts: Counter[str] = Counter()
    gone = [error.message for one in sets for error in one.listing_errors]
    for result in results.values():
        counts.update(result.counts)
        gone += result.left_out
    return MendedCopy(
        out=str(out),
        data_paths=tuple(str(out / name) for name, result in results.items() if result.images),
        images=sum(result.images for result in results.values()),
        left_out=len(gone),
        left_out_first=tuple(gone[:_SHOWN]),
        mended=dict(counts),
    )


def _name(path: str, taken: Collection[str]) -> str:
    """A folder's name for a set."""
    target, number = Path(path).resolve(), 1
    stem = name = target.name if target.is_dir() else target.stem
    while name in taken:
        number += 1
        name = f"{stem}_{number}"
    return name
