"""Settings that suit a set, by what its pictures and words measure."""

from __future__ import annotations

import json
import math
from collections import Counter
from copy import deepcopy
from typing import Any

from ocdnet.data.measures import Measures, quantile
from ocdnet.policy.artifacts import Skill
from ocdnet.policy.image_size import DEFAULT_SIZE
from ocdnet.policy.starting import CROPS, ENOUGH_STEPS, FEW, few_images
from ocdnet.runs.printed_data import DataSetting
from ocdnet.spec_keys import (
    BATCH,
    INFERENCE_RESIZE,
    INFERENCE_SIZE,
    MOST_SIZES,
    NUM_EPOCHS,
    STRIDE,
    TRAIN_STEPS,
    VALIDATE_STEPS,
)
from ocdnet.tree import keys

_LEGIBLE, _MOST_ENLARGED = 17, 1.3
"""Pixels of a word's height in the network's picture that are aimed at, and how much small pictures
are enlarged for it: hmean gains .08 to .13 on ICDAR2015 (references/tuning.md)."""
_FEWEST_PIXELS = 8
"""Below which OCDNet hardly finds a word: the maps have a quarter of the picture's pixels."""
_ENLARGED = 1.2
"""Pixels of a picture in network's sizes up to which it stays as large as it is."""
_SAME_SHAPE, _LONG = 1.1, 2.5
_ONE_SHAPE = 0.98
"""Share of the pictures from which the others do not count."""
_WHOLE_WORD = 1.2
"""Side of a crop by the length of the words in it."""
_SMALLEST_TEXT = 3
_TRAINING = ("train",)


def data_settings(train: Measures, every: Measures, skill: Skill) -> list[DataSetting]:
    """The settings for a training on one set and for finding text in pictures like all of them.

    Args:
        train: the numbers of what is trained on.
        every: the numbers of all that was looked at.
        skill: whose recipe and template are started from.
    """
    if not every.words or not every.sizes:
        return []
    size, why = _network_size(every)
    mode, why_mode = _mode(every, size)
    return [
        *_training(train, skill),
        *_sizes(size, why, mode, why_mode, skill),
    ]


def overrides(settings: list[DataSetting], action: str) -> list[str]:
    """The settings of an action as `key=value`, for a command line."""
    return [f"{one.key}={_text(one.value)}" for one in settings if action in one.actions]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _network_size(measures: Measures) -> tuple[list[int], str]:
    """Width and height that the network's pictures should have, and why."""
    width, height = _picture(measures)
    low, pixels = max(1, quantile(measures.heights, 0.1)), DEFAULT_SIZE[0] * DEFAULT_SIZE[1]
    cheap, dear = 1.0, _MOST_ENLARGED
    if width * height > _ENLARGED * pixels:
        cheap = math.sqrt(pixels / (width * height))
        dear = min(1.0, cheap * math.sqrt(MOST_SIZES))
    scale = min(max(cheap, _LEGIBLE / low), dear)
    size = [math.ceil(round(side * scale) / STRIDE) * STRIDE for side in (width, height)]
    shown = low * scale
    return size, (
        f"Pictures of about {width}x{height}; nine words in ten are {low} pixels high or more, "
        f"{shown:.0f} in the network's picture."
    )


def _picture(measures: Measures) -> tuple[int, int]:
    """Width and height of the picture in the middle, lying or upright as most are."""
    longer: Counter[int] = Counter()
    shorter: Counter[int] = Counter()
    for (width, height), count in measures.sizes.items():
        longer[max(width, height)] += count
        shorter[min(width, height)] += count
    sides = quantile(longer, 0.5), quantile(shorter, 0.5)
    return sides if _share(measures, upright=False) >= 0.5 else (sides[1], sides[0])


def _share(measures: Measures, *, upright: bool) -> float:
    """Share of the pictures that are upright, or not."""
    fitting = sum(n for (width, height), n in measures.sizes.items() if (height > width) == upright)
    return fitting / measures.sizes.total()


def _mode(measures: Measures, size: list[int]) -> tuple[str, str]:
    """How pictures come to the network's size, and why."""
    aspect, alike, long = size[0] / size[1], 0, 0
    for (width, height), count in measures.sizes.items():
        change = max(width / height / aspect, aspect / (width / height))
        alike += count * (change <= _SAME_SHAPE)
        turned = max(width, height) / min(width, height)
        long += count * (turned > _LONG * max(aspect, 1 / aspect))
    total = measures.sizes.total()
    low, (width, height) = quantile(measures.heights, 0.1), _picture(measures)
    if low * min(size[0] / width, size[1] / height) < _FEWEST_PIXELS and width > size[0]:
        return "tile", "Words are too small once the pictures are as small as the network's."
    if alike >= _ONE_SHAPE * total:
        return "stretch", "The pictures have the network's shape."
    upright = _share(measures, upright=True)
    if long > (1 - _ONE_SHAPE) * total or 1 - _ONE_SHAPE < upright < _ONE_SHAPE:
        return "auto", f"Pictures are upright ({upright:.0%}) and lying, or long."
    return "fit", "The pictures lie the same way, but are not of one shape."


def _sizes(size: list[int], why: str, mode: str, why_mode: str, skill: Skill) -> list[DataSetting]:
    """The network's size and the way to it: of validation, and of inference."""
    steps = deepcopy(keys.get(skill.schema("train")["default"], VALIDATE_STEPS))
    validated = "auto" if mode == "tile" else mode
    for step in steps:
        step["args"]["short_size"] = size
        if validated != "stretch":
            step["args"]["mode"] = validated
    validation = DataSetting(
        actions=("train", "evaluate"), key=VALIDATE_STEPS, value=steps, why=f"{why} {why_mode}"
    )
    own = [
        DataSetting(actions=("inference",), key=key, value=side, why=why)
        for key, side in zip(INFERENCE_SIZE, size, strict=True)
    ]
    how = DataSetting(actions=("inference",), key=INFERENCE_RESIZE, value=mode, why=why_mode)
    return [validation, *own, how]


def _training(measures: Measures, skill: Skill) -> list[DataSetting]:
    """Crop, least size of text, batch and epochs."""
    template = skill.schema("train")["default"]
    few = few_images(skill)
    is_few, settings = measures.images < FEW, []
    recipe = few if is_few else {}
    steps = deepcopy(recipe.get(TRAIN_STEPS) or keys.get(template, TRAIN_STEPS))
    if not measures.words:
        return []
    why = [*_small_in_crops(measures, steps, few), *_crop(measures, steps)]
    why += _least_text(measures, steps)
    if is_few:
        why.insert(0, f"{measures.images} pictures are few (references/tuning.md).")
    if why:
        settings.append(
            DataSetting(actions=_TRAINING, key=TRAIN_STEPS, value=steps, why=" ".join(why))
        )
    batch = recipe.get(BATCH, keys.get(template, BATCH))
    usual = keys.get(template, NUM_EPOCHS)
    a_step = f"{math.ceil(measures.images / batch)} steps an epoch, {ENOUGH_STEPS} are enough."
    epochs = max(
        recipe.get(NUM_EPOCHS, usual), math.ceil(ENOUGH_STEPS * batch / max(1, measures.images))
    )
    if is_few:
        settings.append(
            DataSetting(
                actions=_TRAINING, key=BATCH, value=batch, why="Many small steps of few pictures."
            )
        )
    if epochs != usual:
        settings.append(DataSetting(actions=_TRAINING, key=NUM_EPOCHS, value=epochs, why=a_step))
    return settings


def _small_in_crops(
    measures: Measures, steps: list[dict[str, Any]], few: dict[str, Any]
) -> list[str]:
    """Take WordCrop where TAO's crop makes the smallest words too small to be learned."""
    tao = next((step for step in steps if step["type"] == "EastRandomCropData"), None)
    width, height = _picture(measures)
    low = quantile(measures.heights, 0.1)
    shown = low * min(1.0, CROPS["EastRandomCropData"] / max(width, height))
    ours = next((step for step in few.get(TRAIN_STEPS, ()) if step["type"] == "WordCrop"), None)
    if tao is None or ours is None or shown >= _FEWEST_PIXELS or shown == low:
        return []
    steps[steps.index(tao)] = deepcopy(ours)
    return [f"TAO's crop shows a word in ten {shown:.0f} pixels high or less; WordCrop keeps them."]


def _crop(measures: Measures, steps: list[dict[str, Any]]) -> list[str]:
    """Make WordCrop as large as nine words in ten need."""
    step = next((step for step in steps if step["type"] == "WordCrop"), None)
    long, usual = quantile(measures.lengths, 0.9), CROPS["WordCrop"]
    side = min(CROPS["EastRandomCropData"], math.ceil(long * _WHOLE_WORD / STRIDE) * STRIDE)
    if step is None or side <= usual:
        return []
    step["args"] = {"size": [side, side]}
    return [f"A word in ten is longer than {long} pixels, and should fit into a crop."]


def _least_text(measures: Measures, steps: list[dict[str, Any]]) -> list[str]:
    """Train on smaller words where many of them are."""
    step = next((step for step in steps if step["type"] == "MakeShrinkMap"), None)
    usual = (step or {}).get("args", {}).get("min_text_size", _FEWEST_PIXELS)
    small = sum(n for height, n in measures.heights.items() if height < usual)
    if step is None or small < 0.1 * measures.words:
        return []
    least = max(_SMALLEST_TEXT, quantile(measures.heights, 0.05))
    step["args"] = step.get("args", {}) | {"min_text_size": least}
    return [
        f"{small / measures.words:.0%} of the words are lower than {usual} pixels, and are"
        f" trained on from {least}."
    ]
