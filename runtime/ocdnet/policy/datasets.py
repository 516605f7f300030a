"""Which data an action reads, under which keys of its spec: found, checked, or asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ocdnet.catalogue import (
    CALIBRATION_DATASET,
    EVAL_DATASET,
    INFERENCE_DATASET,
    SOURCES,
    TRAIN_DATASETS,
)
from ocdnet.catalogue_entry import Input, Source
from ocdnet.data.layout import HELD_OUT_PARTS, TRAIN_PARTS
from ocdnet.errors import DataError
from ocdnet.launch.platforms import PLATFORMS
from ocdnet.notes import Notes
from ocdnet.policy.case import Case
from ocdnet.policy.datapaths import Finder, Found
from ocdnet.policy.draft import Draft
from ocdnet.policy.plan_record import Extraction
from ocdnet.policy.settings import on_ray
from ocdnet.spec_keys import INFERENCE_DATA, INFERENCE_RECURSIVE, TRAIN_DATA, VALIDATE_DATA
from ocdnet.tree.nodes import MISSING

_LABELLED = "a folder with img/ and gt/, a UTF-8 datalist file, or an archive or URI of one"
_QUESTIONS = {
    TRAIN_DATASETS: f"Which labelled images is it to be trained on ({_LABELLED})?",
    EVAL_DATASET: f"Which labelled images is it to be measured on ({_LABELLED})?",
    INFERENCE_DATASET: "In which folder of images is text to be found?",
    CALIBRATION_DATASET: "Which folder of images is to calibrate the 8-bit numbers?",
}


@dataclass(frozen=True)
class Datasets:
    """The data of one plan.

    Attributes:
        overrides: spec keys and their paths, a list where the key takes one.
        extract: archives to unpack, and URIs to fetch, first.
        images: number of images by spec key, where all of its folders could be counted; 200,000
            files of a folder are looked at.
    """

    overrides: dict[str, str | list[str]] = field(default_factory=dict)
    extract: list[Extraction] = field(default_factory=list)
    images: dict[str, int] = field(default_factory=dict)


def find_datasets(case: Case, draft: Draft) -> Datasets:
    """Find the data that an action reads, and check it.

    The user's own value of a spec key stands in for a dataset that is not named, and is checked
    alike; so does what an earlier job's spec hands on.

    Raises:
        DataError: a dataset is absent or not what the action reads, and the platform is not remote.
    """
    request, notes = case.request, case.notes
    named = {source: _texts(getattr(request, source.request)) for source in SOURCES}
    finder = Finder(request.platform, case.program, notes)
    finder.recursive = draft.known(INFERENCE_RECURSIVE) is True
    finder.by_ray = on_ray(case, draft.tree)
    if finder.by_ray:
        notes.because(
            "Results at a URI are parts of a row a picture, which Ray writes; it reads URIs where "
            "they are (references/predict.md).",
            "results_dir",
        )
    result = Datasets(extract=finder.extract)
    read = set()
    held_out: tuple[str, ...] = ()
    for item in case.entry.data:
        if not _is_read(item, case, draft):
            continue
        choice = _chosen(item, named, draft)
        if item.key == VALIDATE_DATA and not choice.texts and held_out:
            choice = replace(choice, texts=held_out)
            notes.because(f"It is validated on {', '.join(held_out)}.", VALIDATE_DATA)
        elif not item.images or choice.source != choice.own:
            if choice.source == TRAIN_DATASETS:
                held_out = finder.parts(choice.texts, HELD_OUT_PARTS)
            choice = _parted(case, choice, finder)
        read.add(choice.source)
        if choice.texts:
            _add(result, choice, finder)
        else:
            _ask(choice, notes)
    for source, texts in named.items():
        if texts and source not in read:
            unread = f"{case.entry.name}{_without(case, source)} does not read it here."
            notes.warn(f"{source.flag} is not used: {unread}", source.flag)
    _warn_of_overlap(result, notes)
    return result


def _is_read(item: Input, case: Case, draft: Draft) -> bool:
    """Whether the action reads a key under its spec, where it is to run."""
    if item.tao and not PLATFORMS[case.request.platform].tao:
        return False
    return item.when is None or item.when.holds(draft.tree)


def _without(case: Case, source: Source) -> str:
    """The condition under which the action would read a dataset, where it has one."""
    conditions = [item.when for item in case.entry.data if item.when and source in item.sources]
    return f" without {conditions[0].words}" if conditions else ""


@dataclass(frozen=True)
class _Choice:
    """What a key's data is taken from.

    Attributes:
        item: the key, and what it may be.
        own: the dataset that is for this key first of all.
        source: the dataset that is taken.
        texts: its paths; none where the user has to be asked.
    """

    item: Input
    own: Source
    source: Source
    texts: tuple[str, ...]


def _chosen(item: Input, named: Mapping[Source, tuple[str, ...]], draft: Draft) -> _Choice:
    """The key's own dataset, else the user's own value of the key, else another's images."""
    own = item.source
    texts = named[own] or _texts(draft.known(item.key))
    for source in () if texts else item.sources:
        # Training images that an earlier job names serve as well as those of a flag.
        spec = draft.known(TRAIN_DATA) if source == TRAIN_DATASETS else ()
        images = named[source] or _texts(spec)
        if images:
            return _Choice(item, own, source, images)
    return _Choice(item, own, own, texts)


def _parted(case: Case, choice: _Choice, finder: Finder) -> _Choice:
    """The choice with the part that is meant of each folder that holds a set's parts."""
    held_out = HELD_OUT_PARTS if case.entry.trains else HELD_OUT_PARTS[::-1]
    names = TRAIN_PARTS if choice.source == TRAIN_DATASETS else held_out
    texts = []
    for text in choice.texts:
        part = finder.part(text, names)
        texts.append(part or text)
        if part is not None:
            finder.notes.because(
                f"{text} holds a set's parts: {part} is for {choice.item.key}.", choice.item.key
            )
    return replace(choice, texts=tuple(texts))


def _texts(value: Any) -> tuple[str, ...]:
    """The paths of a value that a user gave; one of another type is left to the schema."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(text, str) for text in values):
        return ()
    return tuple(text for text in values if text.strip() and text != MISSING)


def _add(result: Datasets, choice: _Choice, finder: Finder) -> None:
    key, flag, notes = choice.item.key, choice.own.flag, finder.notes
    if len(choice.texts) > 1 and not choice.item.many:
        which = f"{key} takes one folder: which of {', '.join(choice.texts)}?"
        notes.ask(flag, which, key=key)
        return
    find = finder.images if choice.item.images else finder.labelled
    if choice.item.key == INFERENCE_DATA:
        find = finder.inputs
    if choice.source != choice.own:
        find = finder.images_of_split
        notes.because(f"{key} is the images of {choice.source.flag}, for want of {flag}.", key)
    try:
        places = [find(text) for text in choice.texts]
    except DataError as error:
        if error.code != "not-a-folder" or choice.source == choice.own:
            raise
        which = f"{choice.texts[0]} is a list, not a folder. {_QUESTIONS[choice.own]}"
        notes.ask(flag, which, key=key)
        return
    _store(result, choice.item, places)
    for place in places if find == finder.labelled else ():
        for doubt in finder.doubts(place):
            notes.warn(doubt, place.path)


def _store(result: Datasets, item: Input, places: list[Found]) -> None:
    paths = [one.path for one in places]
    result.overrides[item.key] = paths if item.many else paths[0]
    counts = [one.images for one in places if one.images is not None]
    if len(counts) == len(places):
        result.images[item.key] = sum(counts)


def _ask(choice: _Choice, notes: Notes) -> None:
    if choice.item.optional:
        notes.warn(
            "There is no validation data (--eval-dataset): hmean is not measured, and the best"
            " checkpoint is that of the lowest train_loss.",
            choice.item.key,
        )
        return
    asked = {question.about for question in notes.missing}
    if not asked & {source.flag for source in choice.item.sources}:  # it would settle this
        notes.ask(choice.own.flag, _QUESTIONS[choice.own], key=choice.item.key)


def _warn_of_overlap(result: Datasets, notes: Notes) -> None:
    train, measured = (set(result.overrides.get(key, ())) for key in (TRAIN_DATA, VALIDATE_DATA))
    for path in sorted(train & measured):
        notes.warn(
            f"{path} is trained and measured on: hmean will say nothing about new images.",
            VALIDATE_DATA,
        )
