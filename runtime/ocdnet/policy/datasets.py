"""Which data an action reads, under which keys of its spec (DESIGN.md, section 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ocdnet.errors import DataError
from ocdnet.policy.datapaths import Finder, Found
from ocdnet.tree.nodes import MISSING

if TYPE_CHECKING:
    from ocdnet.notes import Notes
    from ocdnet.policy.request import Request

Given = Callable[[str], Any]

_LABELLED_SOURCES = ("train_datasets", "eval_dataset")
_FLAGS = {
    "train_datasets": "--train-dataset",
    "eval_dataset": "--eval-dataset",
    "inference_dataset": "--inference-dataset",
    "calibration_dataset": "--calibration-dataset",
}
_LABELLED = "a folder with img/ and gt/, or a UTF-8 datalist file, or an archive of one"
_QUESTIONS = {
    "train_datasets": f"Which labelled images is it to be trained on ({_LABELLED})?",
    "eval_dataset": f"Which labelled images is it to be measured on ({_LABELLED})?",
    "inference_dataset": "In which folder of images is text to be found?",
    "calibration_dataset": "Which folder of images is to calibrate the 8-bit numbers?",
}
_TRAIN, _EVAL = "dataset.train_dataset.data_path", "dataset.validate_dataset.data_path"
_TRAINING = ("train", "resume", "retrain")
_CALIBRATION = "gen_trt_engine.tensorrt.calibration"


@dataclass(frozen=True)
class Datasets:
    """The data of one plan.

    Attributes:
        overrides: spec keys and their paths, a list where the key takes one.
        extract: archives to unpack first: archive, to, command.
        images: number of images by spec key, where all of its folders could be counted; 200,000
            files of a folder are looked at.
    """

    overrides: dict[str, str | list[str]] = field(default_factory=dict)
    extract: list[dict[str, str]] = field(default_factory=list)
    images: dict[str, int] = field(default_factory=dict)


def dataset_overrides(
    action: str,
    sources: Mapping[str, Any],
    request: Request,
    given: Given,
    notes: Notes,
    *,
    program: str,
    int8: bool = False,
) -> Datasets:
    """Find the data that an action reads, and check it.

    Args:
        action: a plan's action; `resume` reads what `train` reads.
        sources: skill_info's `data_sources`.
        request: names the datasets.
        given: the user's own value of a dotted key, None where there is none. It stands in for a
            dataset that is not named, and is checked alike.
        notes: asked for what is missing, told what is chosen.
        program: how our command line is called, quoted for a shell.
        int8: whether gen_trt_engine builds an INT8 engine, which alone is calibrated.

    Raises:
        DataError: a dataset is absent or not what the action reads, and the platform is not remote.
    """
    entries = sources.get("train" if action == "resume" else action, {})
    if action == "gen_trt_engine" and not int8:
        entries = {}
    named = {
        "train_datasets": _texts(request.train_datasets),
        "eval_dataset": _texts(request.eval_datasets),
        "inference_dataset": _texts(request.inference_dataset),
        "calibration_dataset": _texts(request.calibration_datasets),
    }
    finder = Finder(request.platform, program, notes)
    result = Datasets(extract=finder.extract)
    read = set()
    for key, entry in entries.items():
        choice = _chosen(key, entry, named, given)
        read.add(choice.source)
        if choice.texts:
            _add(result, choice, finder)
        else:
            _miss(action, choice, notes)
    for source, texts in named.items():
        if texts and source not in read:
            why = " without INT8" if action == "gen_trt_engine" and not int8 else ""
            notes.warn(f"{_FLAGS[source]} is not used: {action}{why} does not read it here.")
    _warn_of_overlap(result, notes)
    return result


@dataclass(frozen=True)
class _Choice:
    """What a key's data is taken from.

    Attributes:
        key: of the spec.
        entry: its row of the table.
        own: name of the dataset that is for this key first of all.
        source: name of the dataset that is taken.
        texts: its paths; none where the user has to be asked.
    """

    key: str
    entry: Mapping[str, Any]
    own: str
    source: str
    texts: tuple[str, ...]


def _chosen(
    key: str, entry: Mapping[str, Any], named: Mapping[str, tuple[str, ...]], given: Given
) -> _Choice:
    """The key's own dataset, else the user's own value of the key, else another's images."""
    own, *others = _sources(entry)
    texts = named[own] or _texts(given(key))
    for source in () if texts else others:
        # Training images that an earlier job names serve as well as those of a flag.
        images = named[source] or (_texts(given(_TRAIN)) if source == "train_datasets" else ())
        if images:
            return _Choice(key, entry, own, source, images)
    return _Choice(key, entry, own, own, texts)


def _sources(entry: Mapping[str, Any]) -> list[str]:
    """The datasets that a key can take; for images alone, labelled data comes last."""
    sources = [entry[name] for name in ("source", "alternative_source") if name in entry]
    return sorted(sources, key=lambda source: source in _LABELLED_SOURCES)


def _texts(value: Any) -> tuple[str, ...]:
    """The paths of a value that a user gave; one of another type is left to the schema."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(text, str) for text in values):
        return ()
    return tuple(text for text in values if text.strip() and text != MISSING)


def _add(result: Datasets, choice: _Choice, finder: Finder) -> None:
    key, flag, notes = choice.key, _FLAGS[choice.own], finder.notes
    if len(choice.texts) > 1 and not choice.entry["multiple_sources"]:
        which = f"{key} takes one folder: which of {', '.join(choice.texts)}?"
        notes.ask(flag, which, key=key)
        return
    find = finder.images if choice.entry["type"] == "image_folder" else finder.labelled
    if choice.source != choice.own:
        find = finder.images_of_split
        notes.because(f"{key} is the images of {_FLAGS[choice.source]}, for want of {flag}.")
    try:
        found = [find(text) for text in choice.texts]
    except DataError as error:
        if error.code != "not-a-folder" or choice.source == choice.own:
            raise
        which = f"{choice.texts[0]} is a list, not a folder. {_QUESTIONS[choice.own]}"
        notes.ask(flag, which, key=key)
        return
    _store(result, choice, found)


def _store(result: Datasets, choice: _Choice, found: list[Found]) -> None:
    paths = [one.path for one in found]
    result.overrides[choice.key] = paths if choice.entry["multiple_sources"] else paths[0]
    counts = [one.images for one in found if one.images is not None]
    if len(counts) == len(found):
        result.images[choice.key] = sum(counts)


def _miss(action: str, choice: _Choice, notes: Notes) -> None:
    if choice.key == _EVAL and action in _TRAINING:
        notes.warn(
            "There is no validation data (--eval-dataset): hmean is not measured, and the best"
            " checkpoint is that of the lowest train_loss."
        )
        return
    asked = {question.about for question in notes.missing}
    if not asked & {_FLAGS[source] for source in _sources(choice.entry)}:  # it would settle this
        notes.ask(_FLAGS[choice.own], _QUESTIONS[choice.own], key=choice.key)


def _warn_of_overlap(result: Datasets, notes: Notes) -> None:
    train, measured = (set(result.overrides.get(key, ())) for key in (_TRAIN, _EVAL))
    for path in sorted(train & measured):
        notes.warn(f"{path} is trained and measured on: hmean will say nothing about new images.")


def check_batch_size(images: int, batch_size: int, notes: Notes) -> None:
    """Warn of a training batch that is larger than the whole training set."""
    if batch_size > images:
        notes.warn(
            f"dataset.train_dataset.loader.batch_size is {batch_size}, but there are {images}"
            " training images: an epoch is one incomplete batch."
        )


def calibration_settings(
    images: int, batch_size: int, batches: int, notes: Notes
) -> dict[str, int]:
    """What INT8 calibration can read: never more images than there are.

    Args:
        images: in the calibration folders, 1 or more.
        batch_size: images a batch, cal_batch_size.
        batches: cal_batches.
        notes: told the numbers.

    Returns:
        The changes, by dotted key; none where there are enough images.
    """
    if batch_size * batches <= images:
        notes.because(
            f"Calibration reads {batch_size * batches} of {images} images"
            f" (cal_batch_size {batch_size} x cal_batches {batches})."
        )
        return {}
    size = min(batch_size, images)
    count = min(batches, images // size)
    notes.warn(
        f"There are {images} calibration images for cal_batch_size {batch_size} x cal_batches"
        f" {batches} = {batch_size * batches}: lowered to {size} x {count} = {size * count}."
    )
    changes = {f"{_CALIBRATION}.cal_batch_size": size, f"{_CALIBRATION}.cal_batches": count}
    if size == batch_size:
        del changes[f"{_CALIBRATION}.cal_batch_size"]
    return changes
