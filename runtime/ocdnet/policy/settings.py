"""Values that follow from others: warm-up, intervals, GPUs, batches, epochs of a resumed run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ocdnet.errors import SpecError, UsageError
from ocdnet.launch.platforms import LOCAL, PLATFORMS
from ocdnet.notes import Notes
from ocdnet.policy import starting
from ocdnet.policy.case import BY_SKILL, Case
from ocdnet.policy.draft import Draft
from ocdnet.policy.placing import target_of
from ocdnet.policy.starting import Step
from ocdnet.policy.summary import epochs as in_words
from ocdnet.runs.files import epoch_of
from ocdnet.spec_keys import (
    BATCH,
    CALIBRATION_DATA,
    ENGINE_CACHE,
    ENGINE_CALIBRATION,
    ENGINE_IMAGES,
    ENGINE_PRECISION,
    INFERENCE_OUTPUTS,
    INFERENCE_RESIZE,
    NUM_EPOCHS,
    NUM_GPUS,
    RESUME,
    TRAIN_DATA,
    WARMUP,
    clamped_warmup,
)

_CAL_SIZE = f"{ENGINE_CALIBRATION}.cal_batch_size"
_CAL_BATCHES = f"{ENGINE_CALIBRATION}.cal_batches"
_FEW_CALIBRATED = 100
"""Images to calibrate 8-bit numbers on below which they may not stand for all."""


def settled(case: Case, draft: Draft, images: Mapping[str, int]) -> Draft:
    """The draft with what its values imply; as it is where the schema that bounds them is missing.

    Args:
        case: whose notes are told what is changed.
        draft: the spec, its data and model found.
        images: how many there are, by the spec key of their folders.

    Raises:
        SpecError: two values contradict each other.
    """
    if draft.schema is None:
        return draft
    draft = draft.with_changes(gpus(draft, case.notes))
    starting.absent_gpus(case, draft)
    if case.entry.trains:
        count = images.get(TRAIN_DATA)
        if not case.entry.resumes:
            draft = draft.with_changes(starting.start(case, draft, count))
        draft = draft.with_changes(training(draft, case.notes))
        step = starting.step_of(case, draft)
        starting.steps(case, draft, step, count)
        batch(draft, step, count, case.notes)
    draft = draft.with_changes(resizing(case, draft))
    draft = draft.with_changes(sharing(case, draft))
    if case.entry.resumes:
        resumed(draft, case.notes)
    share = draft.at("prune.ch_sparsity")
    if share is not None:
        case.notes.because(
            f"prune.ch_sparsity {share} removes {share:.0%} of the channels.", "prune.ch_sparsity"
        )
    count = images.get(ENGINE_IMAGES)
    if count:
        draft = draft.with_changes(calibration(draft, count, case.notes))
    few_to_calibrate(draft, images, case.notes)
    return draft


def resizing(case: Case, draft: Draft) -> dict[str, Any]:
    """How inference that runs here resizes its images where nothing is said: aspect kept.

    Never elsewhere: NVIDIA's image stretches; nor of evaluation, whose scores chose the model.
    """
    here = case.request.platform == LOCAL and draft.entry.section == "inference"
    if not here:
        return {}
    case.notes.because(
        "Without a spec, `ocdnet predict SOURCE... --model MODEL` finds the same "
        "(references/predict.md)."
    )
    if draft.known(INFERENCE_RESIZE) is not None:
        return {}
    case.notes.because(
        f"{INFERENCE_RESIZE} is auto: images keep their aspect (references/resizing.md).",
        INFERENCE_RESIZE,
    )
    return {INFERENCE_RESIZE: "auto"}


def shared(case: Case) -> bool:
    """Whether several tasks of a cluster share the images of an inference."""
    several = (case.request.shards or 1) > 1
    return (
        several and case.entry.section == "inference" and PLATFORMS[case.request.platform].cluster
    )


def on_ray(case: Case, tree: Mapping[str, Any]) -> bool:
    """Whether the results of what runs go to a URI, which Ray alone writes to.

    Raises:
        UsageError: it, or the platform, writes into folders alone.
    """
    target = target_of(case.run, tree)
    if "://" not in target or case.runner == BY_SKILL:
        return False
    if case.entry.parts and case.request.platform == LOCAL:
        return True
    raise UsageError(
        "uri-as-folder",
        f"{case.entry.name} on {case.request.platform} writes into a folder, not to a URI",
        got=target,
        expected="a path",
        hint="Give another --results-dir, and copy the results from there.",
    )


def sharing(case: Case, draft: Draft) -> dict[str, Any]:
    """What parts of an inference write so that they can be merged: a line a picture.

    Files of each picture only where the user asks for them: there may be millions.
    """
    asked = draft.known(INFERENCE_OUTPUTS)
    if not shared(case) or "json" in (asked or ()):
        return {}
    case.notes.because(
        f"{case.request.shards} tasks share the images; each writes a line a picture, and"
        f" `ocdnet merge` makes one file of them ({INFERENCE_OUTPUTS}).",
        INFERENCE_OUTPUTS,
    )
    return {INFERENCE_OUTPUTS: [*(asked or ()), "json"]}


def training(draft: Draft, notes: Notes) -> dict[str, Any]:
    """What a training run's epochs imply: warm-up and intervals that fit into them.

    Returns:
        The changes, by dotted key.
    """
    train = draft.tree["train"]
    epochs = train["num_epochs"]
    if not isinstance(epochs, int) or epochs < 1:
        return {}  # the schema refuses that
    changes: dict[str, Any] = {}
    warmup = draft.at(WARMUP)
    if isinstance(warmup, int) and clamped_warmup(epochs, warmup) != warmup:
        changes[WARMUP] = clamped_warmup(epochs, warmup)
        room = f"warm-up is shorter than the run's {in_words(epochs)}"
        change = f"{WARMUP} is {changes[WARMUP]}: {room}."
        (notes.because if draft.value(WARMUP) is None else notes.warn)(change, WARMUP)
    for name in _intervals(train):
        key = f"train.{name}"
        if isinstance(train[name], int) and train[name] > epochs:
            changes[key] = epochs
            notes.warn(f"{key} is lowered from {train[name]} to {epochs}, the run's epochs.", key)
    return changes


def _intervals(train: Mapping[str, Any]) -> Iterator[str]:
    yield "validation_interval"
    if train["checkpoint_interval_unit"] == "epoch":
        yield "checkpoint_interval"


def gpus(draft: Draft, notes: Notes) -> dict[str, Any]:
    """Keep gpu_ids and num_gpus of the action's section in step; the one that is given leads.

    Raises:
        SpecError: both are given and disagree.
    """
    section = draft.entry.section
    count_key, ids_key = f"{section}.num_gpus", f"{section}.gpu_ids"
    count, ids = draft.at(count_key), draft.at(ids_key)
    if not isinstance(count, int) or not isinstance(ids, list):
        return {}
    if draft.value(ids_key) is not None:
        if draft.value(count_key) is None:
            notes.because(f"{count_key} follows {ids_key}: {len(ids)}.", count_key)
            return {count_key: len(ids)}
        if count != len(ids):
            raise SpecError(
                "conflict",
                f"{count_key!r} and {ids_key!r} disagree",
                got=f"{count} GPUs, ids {ids}",
                expected="as many ids as GPUs",
                hint=f"Give one of them: {ids_key} follows {count_key}.",
            )
    elif count != len(ids) and 0 < count <= 1024:
        notes.because(f"{ids_key} follows {count_key}: 0 to {count - 1}.", ids_key)
        return {ids_key: list(range(count))}
    return {}


def batch(draft: Draft, step: Step, images: int | None, notes: Notes) -> None:
    """Say what the batch size means on several devices, and against the number of images.

    Args:
        draft: the spec.
        step: of its training.
        images: to train on; None where that is not known.
        notes: told.
    """
    if images and step.size * step.devices > images:
        notes.warn(
            f"{BATCH} is {step.size * step.devices}, but there are {images} training images: an "
            "epoch is one incomplete batch.",
            BATCH,
        )
    if draft.at(NUM_GPUS) < 0 and not step.alone:
        notes.warn(
            f"{BATCH} is per GPU, and train.num_gpus is -1, all that are there: {step.images} a "
            "step for each of them; the learning rate is not scaled.",
            BATCH,
        )
    elif step.devices * step.gathered > 1:
        gathered = f", {step.gathered} batches gathered" if step.gathered > 1 else ""
        notes.warn(
            f"{BATCH} is per GPU: {step.size} on each of {step.devices}{gathered}, "
            f"{step.images} a step; the learning rate is not scaled.",
            BATCH,
        )


def resumed(draft: Draft, notes: Notes) -> None:
    """Hold num_epochs of a resumed run, which is the total, against the epochs already done."""
    total, epoch = draft.at(NUM_EPOCHS), epoch_of(Path(draft.at(RESUME)))
    done = None if epoch is None else epoch + 1  # names count from 0
    if done is not None and isinstance(total, int) and total <= done:
        notes.ask(
            NUM_EPOCHS,
            f"{done} epochs are done and {NUM_EPOCHS}, the total, is {total}. "
            "How many epochs in all?",
        )
    elif draft.value(NUM_EPOCHS) is not None:
        progress = f"{total}; {done or 'some'} are done"
        notes.because(f"{NUM_EPOCHS} is the total: {progress}.", NUM_EPOCHS)


def calibration(draft: Draft, images: int, notes: Notes) -> dict[str, int]:
    """What INT8 calibration can read: never more images than there are.

    Args:
        draft: the spec: cal_batch_size images a batch, cal_batches batches.
        images: in the calibration folders, 1 or more.
        notes: told the numbers.

    Returns:
        The changes, by dotted key; none where there are enough images.
    """
    size_key, count_key = _CAL_SIZE, _CAL_BATCHES
    batch_size, batches = draft.at(size_key), draft.at(count_key)
    if batch_size * batches <= images:
        notes.because(
            f"Calibration reads {batch_size * batches} of {images} images"
            f" (cal_batch_size {batch_size} x cal_batches {batches}).",
            ENGINE_IMAGES,
        )
        return {}
    size = min(batch_size, images)
    count = min(batches, images // size)
    notes.warn(
        f"There are {images} calibration images for cal_batch_size {batch_size} x cal_batches"
        f" {batches} = {batch_size * batches}: lowered to {size} x {count} = {size * count}.",
        ENGINE_IMAGES,
    )
    return {count_key: count} if size == batch_size else {size_key: size, count_key: count}


def few_to_calibrate(draft: Draft, images: Mapping[str, int], notes: Notes) -> None:
    """Warn where 8-bit ranges are measured on too few images to hold for others.

    Args:
        draft: the spec, as it will be read.
        images: how many there are, by the spec key of their folders.
        notes: told the number.
    """
    if draft.at(ENGINE_PRECISION) == "INT8":
        there = images.get(ENGINE_IMAGES)
        size, batches = draft.at(_CAL_SIZE), draft.at(_CAL_BATCHES)
        read, key = size * batches, ENGINE_IMAGES
        wanted = min(there or _FEW_CALIBRATED, _FEW_CALIBRATED) // size
        more = f"; {_CAL_BATCHES}={wanted} reads more" if wanted > batches else ""
    else:
        read, key = images.get(CALIBRATION_DATA, _FEW_CALIBRATED), CALIBRATION_DATA
        more = ""
    reused = Path(str(draft.at(ENGINE_CACHE))).is_file()
    if read < _FEW_CALIBRATED and not reused:
        number = "1 image" if read == 1 else f"{read} images"
        notes.warn(
            f"INT8 is calibrated on {number}, fewer than {_FEW_CALIBRATED}: what others hold may "
            f"lie outside its ranges{more}.",
            key,
        )
