"""What a training starts with where the user says nothing: for this machine, and for few images."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ocdnet import hardware
from ocdnet.hardware import cpus
from ocdnet.launch.platforms import LOCAL, PLATFORMS
from ocdnet.launch.tao_image import STEPS_OF_OURS
from ocdnet.policy.artifacts import Skill
from ocdnet.policy.case import BY_SKILL, SEARCH_HERE, Case
from ocdnet.policy.draft import Draft
from ocdnet.presets import BACKBONE, INNER_CHANNELS, PRESET, PRESETS, TAO_CHANNELS
from ocdnet.spec_keys import (
    BATCH,
    NUM_EPOCHS,
    NUM_GPUS,
    NUM_NODES,
    PRETRAINED,
    PRUNE_GPU,
    QUANTIZE_DEVICE,
    RESUME,
    TRAIN_PRECISION,
    TRAIN_STEPS,
)
from ocdnet.tree import keys, yaml_io
from ocdnet.zoo.registry import STARTER

RECIPE = "recipe_few_images.yaml"
FEW = 2000
"""Training images below which TAO's crop is not the best choice (references/tuning.md)."""
_RATE = "train.optimizer.args.lr"
_STRATEGY = "train.distributed_strategy"
_GATHERED = "train.accumulate_grad_batches"
_CPU_BATCH = 4
_TAO_CROP = {"min_crop_side_ratio": 0.6}
"""Of EastRandomCropData, which NVIDIA's image has in place of WordCrop."""

CROPS = {"WordCrop": 320, "EastRandomCropData": 640}
"""And the side of each where the spec names no size."""

_FEWEST_STEPS, ENOUGH_STEPS = 200, 1000
"""Of an optimiser: fewer hardly find anything; what a training should have."""
_HOUR = 3600.0

GIGAFLOP = {
    "deformable_resnet18": 431,
    "deformable_resnet50": 750,
    "fan_tiny_8_p4_hybrid": 2869,
    "resnet18": 421,
    "resnet34": 642,
    "resnet50": 727,
    "resnet101": 1171,
    "resnet152": 1615,
    "mobilenet_v2": 447,
    "mobilenet_v3_large": 437,
}
"""Of a training step, for a megapixel, with TAO's neck; counted by torch's FlopCounterMode."""
_OF_WIDTH = 0.003
"""Of it, for each square of a channel of the FPN's width, head included."""
_PER_SECOND = {"bf16": 200.0, "fp16": 200.0, "fp32": 100.0}
"""Gigaflop of a CPU's thread, as on the machines of references/tuning.md: a guess elsewhere."""


def start(case: Case, draft: Draft, images: int | None) -> dict[str, Any]:
    """What the plan sets of a new training, by dotted key; why goes to the notes.

    Args:
        case: whose notes are told.
        draft: the spec; what it knows stays as it is.
        images: to train on; None where that is not known.
    """
    chosen: dict[str, Any] = {}
    if is_open(case, draft, images):
        chosen |= _starter(case)
        draft = draft.with_changes(chosen)
    if images and images < FEW:
        chosen |= _few(case, draft, images)
    if case.request.platform == LOCAL and not hardware.gpus():
        chosen |= _without_gpu(case, draft, chosen)
    return chosen


def is_open(case: Case, draft: Draft, images: int | None) -> bool:
    """Whether a training of few images may be given a network and weights to start from.

    Not where the user, an earlier job or a resumed run has them, nor in NVIDIA's image, which knows
    none of our names.
    """
    chosen = draft.known("model") or draft.known(RESUME) or case.parent
    few = 0 < (images or 0) < FEW
    return case.entry.name == "train" and few and not chosen and not by_nvidia(case)


def by_nvidia(case: Case) -> bool:
    """Whether NVIDIA's image trains."""
    return case.runner == BY_SKILL or PLATFORMS[case.request.platform].tao


def _starter(case: Case) -> dict[str, Any]:
    """The network that has already learnt from rendered scenes."""
    case.notes.because(
        f"Starts from {STARTER.name}; --set {PRESET}=base keeps TAO's network.",
        PRETRAINED,
        first=True,
    )
    base = PRESETS["base"]
    small = {key: value for key, value in PRESETS["small"].items() if value != base[key]}
    return {**small, PRETRAINED: STARTER.name}


def few_images(skill: Skill) -> dict[str, Any]:
    """The recipe for few images by dotted key; nothing where the skill lacks it."""
    path = skill.root / "references" / RECIPE
    return dict(keys.leaves(yaml_io.read(path))) if path.is_file() else {}


def _few(case: Case, draft: Draft, images: int) -> dict[str, Any]:
    """The recipe for few images, key by key."""
    recipe = few_images(case.skill)
    if draft.at(PRETRAINED):
        recipe.pop(_RATE)  # it is for random weights; the template's is right for others
    if by_nvidia(case):
        recipe = _known_to_tao(recipe, draft)
    recipe = {key: value for key, value in recipe.items() if draft.known(key) is None}
    if recipe:
        case.notes.because(
            f"Few images ({images}): {_listed(recipe)} by references/tuning.md.",
            TRAIN_STEPS,
        )
    return recipe


def _listed(recipe: dict[str, Any]) -> str:
    """The recipe's parts in words."""
    parts = {
        "crop": TRAIN_STEPS,
        "batch": BATCH,
        "epochs": NUM_EPOCHS,
        "optimiser": "train.optimizer.type",
        "rate": _RATE,
        "precision": TRAIN_PRECISION,
    }
    return ", ".join(name for name, key in parts.items() if key in recipe) or "other settings"


def _known_to_tao(recipe: dict[str, Any], draft: Draft) -> dict[str, Any]:
    """The recipe's crop and rate as NVIDIA's image reads them: it has one optimiser, no bf16."""
    crop, *rest = keys.get(draft.defaults, TRAIN_STEPS)
    crop |= {"args": crop["args"] | _TAO_CROP}
    (augment,) = (step for step in recipe[TRAIN_STEPS] if step["type"] == "IaaAugment")
    known = [step for step in augment["args"] if step["type"] not in STEPS_OF_OURS]
    adapted = [augment | {"args": known}, crop, *rest]
    return {key: value for key, value in recipe.items() if key == _RATE} | {TRAIN_STEPS: adapted}


def _without_gpu(case: Case, draft: Draft, chosen: dict[str, Any]) -> dict[str, Any]:
    """A batch and a precision for this machine's CPU."""
    precision = "bf16" if hardware.has_bf16() else "fp32"
    fitting = {BATCH: _CPU_BATCH, TRAIN_PRECISION: precision}
    result = {key: value for key, value in fitting.items() if draft.known(key) is None}
    about = {BATCH: "a batch", TRAIN_PRECISION: "the precision"}
    for key, value in result.items():
        if chosen.get(key) != value:
            case.notes.because(
                f"{key} is {value}: there is no GPU here, and that is {about[key]} for a CPU.", key
            )
    return result


def absent_gpus(case: Case, draft: Draft) -> None:
    """Warn of GPUs that the spec demands and this machine lacks, as devices.gpu_indices refuses."""
    if case.request.platform != LOCAL:
        return
    key, most = _demanded(draft)
    present = hardware.gpus()
    split = draft.entry.trains and draft.at(_STRATEGY) != "ddp" and not present
    key = _STRATEGY if split else key
    if split or most >= max(1, present):
        what = "splits over GPUs" if split else "asks for GPUs that are not here"
        clusters = " or ".join(name for name, one in PLATFORMS.items() if one.cluster)
        case.notes.warn(
            f"{key} {what} ({present} are): the run would end with exit code 5. Plan it for a "
            f"machine that has them (--platform {clusters}), or leave the key.",
            key,
        )


def _demanded(draft: Draft) -> tuple[str, int]:
    """The key that chooses an action's GPUs, and the highest index; 0: whatever is there."""
    section = draft.entry.section
    count, ids = draft.at(f"{section}.num_gpus"), draft.at(f"{section}.gpu_ids")
    if ids is not None:
        key = f"{section}.num_gpus" if count > 1 else f"{section}.gpu_ids"
        return key, max(ids, default=0) if len(ids) == count else count - 1
    gpu, device = draft.at(PRUNE_GPU), str(draft.at(QUANTIZE_DEVICE) or "")
    if gpu is not None:
        return PRUNE_GPU, gpu
    number = device.removeprefix("cuda:")
    return QUANTIZE_DEVICE, int(number) if number.isdecimal() else 0


class Step(NamedTuple):
    """An optimiser's step.

    Attributes:
        size: images of a batch, on each device.
        devices: that take part.
        gathered: batches before a step.
        alone: whether it is a trial of a search here, which has one device whatever the spec says.
    """

    size: int
    devices: int
    gathered: int
    alone: bool

    @property
    def images(self) -> int:
        """Of the whole step."""
        return self.size * self.devices * self.gathered


def step_of(case: Case, draft: Draft) -> Step:
    """A step of a training whose values have been checked; -1 GPUs count as one."""
    alone = case.runner == SEARCH_HERE
    devices = 1 if alone else max(1, draft.at(NUM_GPUS)) * draft.at(NUM_NODES)
    return Step(draft.at(BATCH), devices, draft.at(_GATHERED) or 1, alone)


def steps(case: Case, draft: Draft, step: Step, images: int | None) -> None:
    """Say how many steps an epoch has and the run in all; warn of few."""
    if not images:
        return
    epoch = math.ceil(images / step.images)
    total = epoch * draft.at(NUM_EPOCHS)
    case.notes.because(
        f"Steps an epoch: {epoch:,}, of {step.images} images; {total:,} in all"
        f"{' of a trial' if case.runner else ''}.",
        NUM_EPOCHS,
    )
    if total < _FEWEST_STEPS:
        case.notes.warn(
            f"{total} steps of training are few, and it will hardly find anything: "
            f"{NUM_EPOCHS}={math.ceil(ENOUGH_STEPS / epoch)} makes {ENOUGH_STEPS:,} of them.",
            NUM_EPOCHS,
        )


def training_seconds(draft: Draft, images: int | None) -> float | None:
    """About how long one training takes on this machine's CPU; None where nothing is known."""
    flop = gigaflop(str(draft.at(BACKBONE)), int(draft.at(INNER_CHANNELS)))
    size = _crop(draft)
    if hardware.gpus() or not images or flop is None or size is None:
        return None
    megapixels = images * int(draft.at(NUM_EPOCHS)) * size[0] * size[1] / 1e6
    return megapixels * flop / (cpus() * _PER_SECOND[str(draft.at(TRAIN_PRECISION))])


def gigaflop(backbone: str, width: int) -> float | None:
    """Of a training step, for a megapixel; None of an unknown backbone.

    Args:
        backbone: its name.
        width: of the FPN, which FAN backbones do not have.
    """
    whole = GIGAFLOP.get(backbone)
    if whole is None or backbone.startswith("fan_"):
        return whole
    return whole - _OF_WIDTH * (TAO_CHANNELS**2 - width**2)


def _crop(draft: Draft) -> tuple[int, int] | None:
    """Width and height of a training sample."""
    steps = [step for step in draft.at(TRAIN_STEPS) or () if isinstance(step, dict)]
    for step in steps:
        side = CROPS.get(str(step.get("type")))
        size = keys.get(step, "args.size") or [side, side]
        # What stands in a step is checked when it runs.
        if side and isinstance(size, list) and [type(one) for one in size] == [int, int]:
            return size[0], size[1]
    return None


def long_search(trials: int, seconds: float) -> str | None:
    """A warning of a search that takes more than an hour; None of another.

    Args:
        trials: of the search.
        seconds: that a training takes here.
    """
    if trials * seconds <= _HOUR:
        return None
    return (
        f"The search takes about {in_words(trials * seconds)} here, {trials} trainings one after "
        f"the other (fewer where trials end early): --automl-policy off plans one, of about "
        f"{in_words(seconds)}."
    )


def in_words(seconds: float) -> str:
    """A duration as people say it."""
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
