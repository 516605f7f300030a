"""Merge: the results of inference's parts as one, as a single run would have written them."""

from __future__ import annotations

import heapq
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain, groupby
from pathlib import Path, PurePath
from typing import Any

from ocdnet.actions.inference import MODEL, PICTURES
from ocdnet.actions.page_files import PageFiles, names_beforehand
from ocdnet.actions.page_loop import Tally, record_files
from ocdnet.actions.session import own_files, session
from ocdnet.config import spec
from ocdnet.config.spec import Loaded
from ocdnet.data.folders import NaturalKey, natural_key
from ocdnet.data.shards import shard_of
from ocdnet.errors import DataError, UserError
from ocdnet.files import replacing
from ocdnet.findings import LOG, Finding, note, relay
from ocdnet.runs.files import EXPERIMENT, PART, PREDICTIONS, STATUS
from ocdnet.runs.outputs import RECORD, files_on_record
from ocdnet.runs.pages import PageRecord
from ocdnet.runs.parsing import loads, parse
from ocdnet.runs.printed import MergeResult
from ocdnet.runs.status import last_state, read_status
from ocdnet.spec_keys import (
    INFERENCE_DATA,
    INFERENCE_SHARD,
    INFERENCE_SHARDS,
    SHARDS,
    SKIP_UNREADABLE,
)
from ocdnet.tree import keys, yaml_io

_INFERENCE = "inference"
_SHOWN = 10
_ITS_OWN = ("left-out", "earlier-results")
"""Codes of warnings that merging gives itself, or that are of a part's folder."""


def run(folder: Path) -> MergeResult:
    """Put together what the parts below a results folder have found.

    Predictions come in the order of a single run; what each picture got is linked, or copied where
    the disk has no links. The parts stay as they are.

    Args:
        folder: of the results, with the parts' in `shards`; or the one above it.

    Raises:
        DataError: there are no parts, one has not ended well or is of another run, or its pictures
            are not its own.
        SpecError: a file is there that no run of inference made.
    """
    below = folder / _INFERENCE
    folder = below if (below / SHARDS).is_dir() else folder
    shards, loaded = _loaded(folder)
    config = loaded.experiment.inference
    parts = [folder / SHARDS / str(number) for number in range(shards)]
    _check_ended(parts)
    _check_alike(parts)
    together = names_beforehand([], config.outputs)
    skipped = {*own_files(_INFERENCE), RECORD, PART, *together}
    files = _files_of(parts, skipped)
    page_files, tally = PageFiles.below(folder, config.outputs), Tally(SKIP_UNREADABLE)
    with session(loaded, writes=[*files, *together], renews=True) as here:
        _retell(parts, loaded.notices)
        for name, file in files.items():
            _link(file, folder / name)
        with ExitStack() as stack:
            sinks = stack.enter_context(record_files(page_files))
            for record in _merged(parts, Path(config.input_folder), stack):
                for add in (tally.add, *sinks):
                    add(record)
            if not tally.done:
                raise DataError("no-images", f"There were no images in {config.input_folder}")
            tally.check()
            _check_ended(parts)  # none was begun again meanwhile
        return MergeResult(
            **page_files.names(config.recursive),
            warnings=here.warnings,
            images=tally.images,
            boxes=tally.regions,
            skipped=tuple(tally.skipped),
            skipped_images=tally.skipped_images,
            shards=len(parts),
            results_dir=str(folder),
        )


def _loaded(folder: Path) -> tuple[int, Loaded]:
    """The number of parts, and the spec of a single run with its results in the folder."""
    specs = (folder / SHARDS).glob(f"*/{EXPERIMENT}")
    first = min(
        (file for file in specs if file.parent.name.isdecimal() and file.is_file()),
        key=lambda file: int(file.parent.name),
        default=None,
    )
    if first is None:
        raise DataError(
            "no-parts",
            f"There is no part of an inference in {folder / SHARDS}",
            expected=f"a folder of results whose {SHARDS}/ holds what each inference.shard wrote",
        )
    place = f"{_INFERENCE}.results_dir={yaml_io.inline_yaml(str(folder))}"
    whole = [f"{INFERENCE_SHARDS}=1", f"{INFERENCE_SHARD}=0", place]
    part = spec.load(_INFERENCE, first, [])
    return part.experiment.inference.shards, spec.load(_INFERENCE, first, whole)


def _check_ended(parts: list[Path]) -> None:
    """Raise DataError unless each part has ended well."""
    lacking = [
        part
        for part in parts
        if last_state(part / STATUS) != "SUCCESS" or not (part / EXPERIMENT).is_file()
    ]
    if lacking:
        raise DataError(
            "parts-missing",
            f"{len(lacking)} of {len(parts)} parts have not ended well, or not yet",
            got=[part.name for part in lacking[:_SHOWN]],
            expected="all of them",
            hint=f"See their status.json in {SHARDS}/, and let end what still runs. Run the others "
            f"again{_by_slurm(lacking)}",
        )


def _by_slurm(parts: list[Path]) -> str:
    numbers = sorted(int(part.name) for part in parts)
    runs = groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    ends = [[number for _, number in run] for _, run in runs]
    array = ",".join(f"{run[0]}-{run[-1]}" if run[1:] else f"{run[0]}" for run in ends)
    return f", by Slurm: sbatch --array={array} inference.sbatch; when they have ended, merge."


def _check_alike(parts: list[Path]) -> None:
    """Raise DataError unless all parts are of one run."""
    whole = _identity(parts[0])
    for part in parts:
        first, other = whole | {INFERENCE_SHARD: int(part.name)}, _identity(part)
        if other != first:
            differing = [
                key for key in first.keys() | other.keys() if first.get(key) != other.get(key)
            ]
            raise DataError(
                "parts-differ",
                f"{part} is not part {part.name} of the run of {parts[0]}",
                got=sorted(differing)[:_SHOWN],
                expected="parts with one spec, and one model",
                hint="Run all parts with the same spec and model, into an empty folder.",
            )


def _identity(part: Path) -> dict[str, Any]:
    """What is the same of all parts, but for their number."""
    read = yaml_io.read(part / EXPERIMENT)
    leaves = dict(keys.leaves(read)) if isinstance(read, dict) else {}
    return {INFERENCE_SHARD: 0} | leaves | {"content of the model": _seen_by(part).get(MODEL)}


def _seen_by(part: Path) -> dict[str, Any]:
    try:
        return dict(loads((part / PART).read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}


def _retell(parts: list[Path], notices: Iterable[str]) -> None:
    """Note what the parts have warned of, but for what merging says, and in which they differ."""
    seen = [_seen_by(part).get(PICTURES) for part in parts]
    usual = max(seen, key=seen.count)
    for part, pictures in zip(parts, seen, strict=True):
        if pictures != usual:
            note(
                "other-pictures",
                "Pictures were added, removed or renamed between the starts of the parts: these "
                "saw others than most did, and are to be run again",
                key=INFERENCE_DATA,
                file=part,
            )
    told = {*notices}
    for part in parts:
        for line in read_status(part / STATUS).lines:
            rows = [row for row in line.warnings or () if row.code not in _ITS_OWN]
            relay(Finding(r.code, r.message, r.key or "", [*r.files], r.count) for r in rows)
            if line.verbosity == "WARNING" and not line.warnings and line.message not in told:
                told.add(line.message)
                LOG.warning(line.message)


def _files_of(parts: list[Path], skipped: set[str]) -> dict[str, Path]:
    """The files that the parts have made, by the names that they get; no two of one name."""
    files: dict[str, Path] = {}
    changed: dict[Path, list[str]] = {}
    for part in parts:
        on_record = files_on_record(part)
        if PREDICTIONS not in on_record:
            raise DataError(
                "no-predictions",
                f"{part} holds no {PREDICTIONS}",
                expected="parts whose inference.outputs holds json",
                hint="Run the parts again with json in inference.outputs.",
            )
        for name, as_made in on_record.items():
            if not as_made:
                changed.setdefault(part, []).append(f"{SHARDS}/{part.name}/{name}")
            if name in files:
                raise _of_two(part / name, files[name])
            if name not in skipped:
                files[name] = part / name
    if changed:
        names = list(chain(*changed.values()))
        raise DataError(
            "parts-changed",
            "Files of parts are gone, or were changed since they were made",
            got=names[:_SHOWN],
            expected="files as the parts have left them",
            hint="Move away what is still there of them, and run their parts again"
            f"{_by_slurm(list(changed))}",
        )
    return files


def _link(file: Path, target: Path) -> None:
    with replacing(target) as temporary:
        temporary.unlink()
        try:
            os.link(file, temporary)
        except OSError:
            shutil.copyfile(file, temporary)


Order = tuple[tuple[int, NaturalKey | int], ...]


def _merged(parts: list[Path], pictures: Path, stack: ExitStack) -> Iterator[PageRecord]:
    """The records of all parts in the order of a single run; one of each part is held."""
    streams = [_records(part, pictures, len(parts), stack) for part in parts]
    for _, record in heapq.merge(*streams, key=lambda row: row[0]):
        yield record


def _records(
    part: Path, pictures: Path, shards: int, stack: ExitStack
) -> Iterator[tuple[Order, PageRecord]]:
    path = part / PREDICTIONS
    file = stack.enter_context(path.open("rb"))
    for number, line in enumerate(file, start=1):
        try:
            record: PageRecord = parse(PageRecord, loads(line), f"{path}:{number}")
            below = PurePath(record.image or "").relative_to(pictures)
        except ValueError as error:
            raise _foreign(path, number) from error
        if shard_of(below.as_posix(), shards) != int(part.name):
            raise _foreign(path, number)
        folders = ((1, natural_key(name)) for name in below.parts[:-1])
        page = -1 if record.page is None else record.page
        yield (*folders, (0, natural_key(below.name)), (0, page)), record


def _foreign(path: Path, number: int) -> UserError:
    return DataError(
        "foreign-picture",
        f"{path}:{number} is no picture of this part",
        hint="Run all parts again, into an empty folder.",
    )


def _of_two(file: Path, other: Path) -> UserError:
    return DataError(
        "same-name",
        f"Two parts made a file of one name: {file} and {other}",
        expected="pictures whose results have names of their own",
        hint="Rename one of the two pictures; or set inference.outputs=[json], which names none. "
        "Then run the parts again.",
    )
