"""Values that follow from others: warm-up, intervals, GPUs, epochs of a resumed run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ocdnet.errors import SpecError
from ocdnet.notes import Notes
from ocdnet.policy.datasets import check_batch_size
from ocdnet.policy.summary import epochs as in_words

Given = Callable[[str], Any]

_WARMUP = "train.lr_scheduler.args.warmup_epoch"
_FEW = 2000
"""Training images below which TAO's crop is not the best choice (references/tuning.md)."""
_BATCH = "dataset.train_dataset.loader.batch_size"


def training(tree: Mapping[str, Any], given: Given, notes: Notes) -> dict[str, Any]:
    """What a training run's epochs imply: warm-up and intervals that fit into them.

    Args:
        tree: the complete spec so far.
        given: the user's own value of a dotted key, None where there is none.
        notes: told what is changed.

    Returns:
        The changes, by dotted key.
    """
    train = tree["train"]
    epochs = train["num_epochs"]
    if not isinstance(epochs, int) or epochs < 1:
        return {}  # the schema has its say on that
    changes: dict[str, Any] = {}
    warmup = train["lr_scheduler"]["args"]["warmup_epoch"]
    if isinstance(warmup, int) and warmup >= epochs:
        changes[_WARMUP] = epochs - 1
        what = f"{_WARMUP} is {epochs - 1}: warm-up is shorter than the run's {in_words(epochs)}."
        (notes.warn if given(_WARMUP) is not None else notes.because)(what)
    for name in _intervals(train):
        if isinstance(train[name], int) and train[name] > epochs:
            changes[f"train.{name}"] = epochs
            notes.warn(f"train.{name} is lowered from {train[name]} to {epochs}, the run's epochs.")
    return changes


def _intervals(train: Mapping[str, Any]) -> Iterator[str]:
    yield "validation_interval"
    if train["checkpoint_interval_unit"] == "epoch":
        yield "checkpoint_interval"


def gpus(section: str, tree: Mapping[str, Any], given: Given, notes: Notes) -> dict[str, Any]:
    """Keep gpu_ids and num_gpus of a section in step; the one that is given leads.

    Raises:
        SpecError: both are given and disagree.
    """
    count_key, ids_key = f"{section}.num_gpus", f"{section}.gpu_ids"
    own = tree.get(section, {})
    count, ids = own.get("num_gpus"), own.get("gpu_ids")
    if not isinstance(count, int) or not isinstance(ids, list):
        return {}
    changes: dict[str, Any] = {}
    if given(count_key) is not None and given(ids_key) is not None:
        if count != len(ids):
            raise SpecError(
                "conflict",
                f"{count_key!r} and {ids_key!r} disagree",
                got=f"{count} GPUs, ids {ids}",
                expected="as many ids as GPUs",
                hint=f"Give one of them: {ids_key} follows {count_key}.",
            )
    elif given(ids_key) is not None:
        changes[count_key] = len(ids)
        notes.because(f"{count_key} follows {ids_key}: {len(ids)}.")
    elif count != len(ids) and 0 < count <= 1024:
        changes[ids_key] = list(range(count))
        notes.because(f"{ids_key} follows {count_key}: 0 to {count - 1}.")
    return changes


def batch(tree: Mapping[str, Any], images: int | None, alone: bool, notes: Notes) -> None:
    """Say what the batch size means on several devices, and against the number of images.

    Args:
        tree: the complete spec.
        images: to train on; None where that is not known.
        alone: whether each training has one device, as the trials of a search have.
        notes: told.
    """
    train = tree["train"]
    devices = 1 if alone else max(1, train["num_gpus"]) * train["num_nodes"]
    steps = train.get("accumulate_grad_batches", 1)
    size = tree["dataset"]["train_dataset"]["loader"]["batch_size"]
    if images and isinstance(size, int):
        check_batch_size(images, size * devices, notes)
    if images and images < _FEW:
        notes.because(
            f"{images} training images are few: references/recipe_few_images.yaml (--spec) is a "
            "start for that; references/tuning.md tells of it."
        )
    if train["num_gpus"] < 0 and not alone:
        notes.warn(
            f"{_BATCH} is per GPU, and train.num_gpus is -1, all that are there: {size * steps} a "
            "step for each of them; the learning rate is not scaled."
        )
    elif devices * steps > 1:
        gathered = f", {steps} batches gathered" if steps > 1 else ""
        notes.warn(
            f"{_BATCH} is per GPU: {size} on each of {devices}{gathered}, "
            f"{size * devices * steps} a step; the learning rate is not scaled."
        )


def resumed(tree: Mapping[str, Any], epoch: int | None, given: Given, notes: Notes) -> None:
    """Hold num_epochs of a resumed run, which is the total, against the epochs already done.

    Args:
        tree: the complete spec.
        epoch: epoch in the checkpoint's name, counted from 0; None where it names none.
        given: the user's own value of a dotted key.
        notes: asked for a total that leaves something to do.
    """
    total, done = tree["train"]["num_epochs"], None if epoch is None else epoch + 1
    if done is not None and isinstance(total, int) and total <= done:
        notes.ask(
            "train.num_epochs",
            f"{done} epochs are done and train.num_epochs, the total, is {total}. "
            "How many epochs in all?",
        )
    elif given("train.num_epochs") is not None:
        notes.because(f"train.num_epochs is the total: {total}; {done or 'some'} are done.")
