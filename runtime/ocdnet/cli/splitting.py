"""What `ocdnet data split` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from ocdnet.cli.checking import KEY, Progress
from ocdnet.data.alike import alike_groups
from ocdnet.data.datalist import datalist_of
from ocdnet.data.faults import as_one
from ocdnet.data.listing import list_pairs
from ocdnet.data.look import look
from ocdnet.data.new_folder import NewFolder, new_folder
from ocdnet.data.pictures import decoded, hashes_of
from ocdnet.data.split import WordCounts, held_out
from ocdnet.errors import DataError
from ocdnet.files import write_text
from ocdnet.findings import collecting
from ocdnet.runs.printed_data import DataSplit, SplitPart


def divided(
    paths: Sequence[str], out: Path, share: float, seed: int, tags: Sequence[str]
) -> DataSplit:
    """Divide sets into two datalists in a new folder.

    Raises:
        UsageError: `out` is not absent or empty.
        DataError: a path is no set, a label or a picture can't be read, or a part would be empty.
        RunError, EnvironmentFault: the folder can't be written.
    """
    with new_folder(out) as new, collecting():
        pairs, counts = _read(paths, tags)
        groups = _groups(pairs)
        val = held_out(counts.words, groups, share, seed)
        if not 0 < len(val) < len(pairs):
            raise DataError(
                "empty-part",
                "One of the parts would have no picture",
                got=f"{len(pairs)} pictures, of which {len(set(groups))} differ",
                hint="Choose another --val, or add pictures.",
            )
        train = sorted(set(range(len(pairs))) - val)
        build = new.scratch / "set"
        parts = [
            _written(name, places, pairs, counts, build, new)
            for name, places in (("train", train), ("val", sorted(val)))
        ]
        new.take(build)
    return DataSplit(
        out=str(out), seed=seed, train=parts[0], val=parts[1], alike_images=_alike(groups)
    )


def _alike(groups: Sequence[int]) -> int:
    """How many pictures are not alone in their group."""
    return sum(size for size in Counter(groups).values() if size > 1)


def _read(paths: Sequence[str], tags: Sequence[str]) -> tuple[list[tuple[str, str]], WordCounts]:
    """The images and labels of all sets, and the words of each."""
    listed = [list_pairs(path, KEY) for path in paths]
    counts, errors = WordCounts(), list[DataError]()
    for pairs in listed:
        more, bad = look(Progress(pairs, "labels"), WordCounts, tags)
        counts.words += more.words
        counts.regions += more.regions
        errors += bad
    if errors:
        raise as_one(errors, sum(map(len, listed)))
    return list(chain.from_iterable(listed)), counts


def _groups(pairs: list[tuple[str, str]]) -> list[int]:
    """Of each picture the group of those that nearly are the same."""
    images = (image for image, _ in Progress(pairs, "pictures"))
    hashes, places, errors = hashes_of(decoded(images))
    if errors:
        raise as_one(list(errors.values()), len(pairs))
    groups = list(range(len(pairs)))
    for place, first in zip(places, alike_groups(hashes).tolist(), strict=True):
        groups[place] = places[first]
    return groups


def _written(
    name: str,
    places: Sequence[int],
    pairs: Sequence[tuple[str, str]],
    counts: WordCounts,
    build: Path,
    new: NewFolder,
) -> SplitPart:
    """Write the list of a part."""
    write_text(build / f"{name}.txt", datalist_of((pairs[at] for at in places), new.target))
    return SplitPart(
        datalist=str(new.out / f"{name}.txt"),
        images=len(places),
        words=sum(counts.words[at] for at in places),
        empty_images=sum(not counts.regions[at] for at in places),
    )
