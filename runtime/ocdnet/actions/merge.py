"""Merge: the results of inference's parts as one, as a single run would have written them."""

from __future__ import annotations

import heapq
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePath
from typing import Any

from ocdnet.actions.page_files import PageFiles, names_beforehand
from ocdnet.actions.page_loop import Tally, record_files
from ocdnet.actions.session import own_files, session
from ocdnet.config import spec
from ocdnet.config.inference import SHARDS
from ocdnet.config.spec import Loaded
from ocdnet.data.folders import natural_key
from ocdnet.data.shards import shard_of
from ocdnet.errors import DataError, UserError
from ocdnet.files import replacing
from ocdnet.runs.files import EXPERIMENT, PREDICTIONS, STATUS
from ocdnet.runs.outputs import RECORD, files_on_record
from ocdnet.runs.pages import PageRecord
from ocdnet.runs.parsing import loads, parse
from ocdnet.runs.printed import MergeResult
from ocdnet.runs.status import last_state
from ocdnet.spec_keys import INFERENCE_SHARD, INFERENCE_SHARDS, SKIP_UNREADABLE
from ocdnet.tree import keys, yaml_io

_INFERENCE = "inference"
_SHOWN = 10


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
    _check(parts)
    together = names_beforehand([], config.outputs)
    skipped = {*own_files(_INFERENCE), RECORD, *together}
    files = _files_of(parts, skipped)
    page_files, tally = PageFiles.below(folder, config.outputs), Tally(SKIP_UNREADABLE)
    with session(loaded, writes=[*files, *together], renews=True) as here:
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


def _spec_of(part: Path) -> dict[str, Any]:
    file = part / EXPERIMENT
    if not file.is_file():
        raise DataError(
            "no-parts",
            f"There is no part of an inference in {part}",
            expected=f"a folder of results whose {SHARDS}/ holds what each inference.shard wrote",
        )
    read = yaml_io.read(file)
    return dict(read) if isinstance(read, dict) else {}


def _loaded(folder: Path) -> tuple[int, Loaded]:
    """The number of parts, and the spec of a single run with its results in the folder."""
    first = folder / SHARDS / "0"
    _spec_of(first)
    place = f"{_INFERENCE}.results_dir={yaml_io.inline_yaml(str(folder))}"
    whole = [f"{INFERENCE_SHARDS}=1", f"{INFERENCE_SHARD}=0", place]
    part = spec.load(_INFERENCE, first / EXPERIMENT, [])
    return part.experiment.inference.shards, spec.load(_INFERENCE, first / EXPERIMENT, whole)


def _check(parts: list[Path]) -> None:
    """Raise DataError unless each part has ended well, and all are of one run."""
    lacking = [part.name for part in parts if last_state(part / STATUS) != "SUCCESS"]
    if lacking:
        shown = ",".join(lacking[:_SHOWN])
        raise DataError(
            "parts-missing",
            f"{len(lacking)} of {len(parts)} parts have not ended well",
            got=lacking[:_SHOWN],
            expected="all of them",
            hint=f"See their status.json in {SHARDS}/. Run them again, by Slurm: sbatch "
            f"--array={shown} inference.sbatch; then merge.",
        )
    whole = dict(keys.leaves(_spec_of(parts[0])))
    for part in parts:
        first = whole | {INFERENCE_SHARD: int(part.name)}
        other = {INFERENCE_SHARD: 0} | dict(keys.leaves(_spec_of(part)))
        if other != first:
            differing = [
                key for key in first.keys() | other.keys() if first.get(key) != other.get(key)
            ]
            raise DataError(
                "parts-differ",
                f"{part} is not part {part.name} of the run of {parts[0]}",
                got=sorted(differing)[:_SHOWN],
                expected="parts with one spec",
                hint="Run all parts with the same spec, into an empty folder.",
            )


def _files_of(parts: list[Path], skipped: set[str]) -> dict[str, Path]:
    """The files that the parts have made, by the names that they get; no two of one name."""
    files: dict[str, Path] = {}
    for part in parts:
        for name in set(files_on_record(part)) - skipped:
            if name in files:
                raise _of_two(part / name, files[name])
            files[name] = part / name
    return files


def _link(file: Path, target: Path) -> None:
    with replacing(target) as temporary:
        temporary.unlink()
        try:
            os.link(file, temporary)
        except OSError:
            shutil.copyfile(file, temporary)


Order = tuple[tuple[int, list[str | int]], ...]


def _merged(parts: list[Path], pictures: Path, stack: ExitStack) -> Iterator[PageRecord]:
    """The records of all parts in the order of a single run; one of each part is held."""
    streams = [_records(part, pictures, len(parts), stack) for part in parts]
    for _, record in heapq.merge(*streams, key=lambda row: row[0]):
        yield record


def _records(
    part: Path, pictures: Path, shards: int, stack: ExitStack
) -> Iterator[tuple[Order, PageRecord]]:
    path = part / PREDICTIONS
    if not path.is_file():
        raise DataError(
            "no-predictions",
            f"{part} holds no {PREDICTIONS}",
            expected="parts whose inference.outputs holds json",
            hint="Run the parts again with json in inference.outputs.",
        )
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
        yield (*folders, (0, natural_key(below.name)), (0, [page])), record


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
        hint="Rename one of the two pictures; or set inference.outputs=[json], which names none.",
    )
