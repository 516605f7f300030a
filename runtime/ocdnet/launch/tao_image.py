"""A spec for NVIDIA's own image: TAO's keys and values only, and what that image cannot run.

The facts were measured on TAO PyTorch's OCDNet (June 2026).
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any

from ocdnet.catalogue_entry import Action
from ocdnet.errors import SpecError
from ocdnet.presets import INNER_CHANNELS, NECK_BLOCK, TAO_CHANNELS
from ocdnet.spec_keys import (
    NUM_EPOCHS,
    NUM_GPUS,
    QUANTIZE_BACKEND,
    QUANTIZE_LAYERS,
    TRAIN_STEPS,
    TRAIN_WORKERS,
    VALIDATE_STEPS,
    WARMUP,
    clamped_warmup,
)
from ocdnet.tree import keys

WORKERS = 4
"""Workers in place of -1, which TAO does not know."""

STEPS_OF_OURS = {"WordCrop", "ColorJitter"}
"""Steps of a training sample that TAO lacks."""
_WORKERS = (TRAIN_WORKERS, "dataset.validate_dataset.loader.num_workers")
_PLACES = ("dataset.train_dataset.args", "dataset.validate_dataset.args", "inference")


def for_tao(tree: Mapping[str, Any], ours: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """A complete spec as TAO reads it.

    Args:
        tree: every key that the action reads.
        ours: dotted keys that TAO does not know.

    Returns:
        A copy without extras of ours, with a number of workers and warm-up below the epochs;
        and a sentence for each change.
    """
    result: dict[str, Any] = copy.deepcopy(dict(tree))
    changes: list[str] = []
    for key in ours:
        if keys.drop(result, key):
            changes.append(f"{key} is left out: TAO does not know it")
    for key in _WORKERS:
        if keys.get(result, key) == -1:
            keys.set(result, key, WORKERS)
            changes.append(f"{key} is {WORKERS} instead of -1 (automatic)")
    if "train" in result:
        given = keys.get(result, WARMUP)
        warmup = clamped_warmup(keys.get(result, NUM_EPOCHS), given)
        if warmup != given:
            keys.set(result, WARMUP, warmup)
            changes.append(f"{WARMUP} is lowered to {warmup}")
    return result, changes


def rendered(tree: Mapping[str, Any], ours: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """As `for_tao`, of a spec that NVIDIA's image can run.

    Raises:
        SpecError: `target-cannot-run`, naming every value that it fails on.
    """
    failures = cannot_run(tree)
    if failures:
        raise SpecError(
            "target-cannot-run",
            "NVIDIA's image cannot run this spec",
            got=failures,
            expected="a spec without them",
            hint="Change them, or run it with this skill's own runtime.",
        )
    return for_tao(tree, ours)


def cannot_run(tree: Mapping[str, Any]) -> list[str]:
    """What of a complete spec NVIDIA's image fails on, a sentence each."""
    return list(_failures(tree))


def _failures(tree: Mapping[str, Any]) -> Iterator[str]:
    for place in _PLACES:
        if keys.get(tree, f"{place}.img_mode") == "GRAY":
            yield f"{place}.img_mode: GRAY fails on every image"
    yield from _foreign(tree)
    train = tree.get("train", {})
    if train:
        if train["num_gpus"] < 0:
            yield f"{NUM_GPUS}: -1 is no number of GPUs"
        if train["precision"] == "bf16":
            yield "train.precision: bf16 is not implemented"
        if train["optimizer"]["type"] != "Adam":
            yield f"train.optimizer.type: {train['optimizer']['type']} crashes"
        if train["checkpoint_interval"] > train["num_epochs"]:
            yield "train.checkpoint_interval: may not exceed train.num_epochs"
        if train["metric"]["args"]["is_output_polygon"]:
            yield "train.metric.args.is_output_polygon: true crashes"
    for name in ("evaluate", "inference"):
        section = tree.get(name, {})
        if section.get("checkpoint", "").endswith(".onnx"):
            yield f"{name}.checkpoint: takes a .pth file"
        if keys.get(section, "metric.args.is_output_polygon"):
            yield f"{name}.metric.args.is_output_polygon: true crashes"
        if section.get("polygon"):
            yield f"{name}.polygon: true crashes on many images"


def surprises(tree: Mapping[str, Any], entry: Action) -> list[str]:
    """What of a complete spec NVIDIA's image takes, and does otherwise than ours; a sentence each.

    Args:
        tree: the spec.
        entry: the action, as it is under it.
    """
    return list(_surprises(tree, entry))


def _surprises(tree: Mapping[str, Any], entry: Action) -> Iterator[str]:
    model = str(keys.get(tree, entry.model or "") or "")
    name = PurePath(model).name
    if name.startswith("model_best") and "full checkpoint" in entry.takes:
        yield (
            f"{entry.model}: NVIDIA's {entry.section} takes no {name}, but a checkpoint by its "
            "epoch's name, model_epoch_<EEE>_step_<SSSSS>.pth (--checkpoint EPOCH)"
        )
    if name.startswith("quantized_model"):
        yield f"{entry.model}: NVIDIA's image reads no checkpoint that quantize wrote"
    backend = keys.get(tree, QUANTIZE_BACKEND)
    if backend == "modelopt.onnx":
        yield f"{QUANTIZE_BACKEND}: not each of NVIDIA's images holds modelopt.onnx.quantization"
    if keys.get(tree, "quantize.backend_kwargs.activations"):
        yield "quantize.backend_kwargs.activations: a choice of ours, which NVIDIA's does not know"
    if backend == "torchao" and asks_for_fp8(tree):
        yield f"{QUANTIZE_LAYERS}: fp8 by torchao fails in NVIDIA's image (torchao 0.18)"


def asks_for_fp8(tree: Mapping[str, Any]) -> bool:
    """Whether a layer of a quantize spec is to be fp8, which NVIDIA's image alone makes."""
    formats = json.dumps(keys.get(tree, QUANTIZE_LAYERS) or [], default=str)
    return bool(re.search("fp8|float8", formats, re.IGNORECASE))


def _foreign(tree: Mapping[str, Any]) -> Iterator[str]:
    """Choices of ours that it does not know."""
    backbone = keys.get(tree, "model.backbone", "")
    if backbone.startswith("mobilenet_"):
        yield f"model.backbone: {backbone} is not one of its backbones"
    width, block = keys.get(tree, INNER_CHANNELS), keys.get(tree, NECK_BLOCK)
    if width not in (None, TAO_CHANNELS):
        yield f"{INNER_CHANNELS}: {width}: its neck has {TAO_CHANNELS} channels"
    if block not in (None, "conv"):
        yield f"{NECK_BLOCK}: {block} is a choice of ours"
    steps = keys.get(tree, TRAIN_STEPS, [])
    for name in sorted(STEPS_OF_OURS.intersection(_types(steps))):
        yield f"{TRAIN_STEPS}: {name} is not one of its steps"
    for step in keys.get(tree, VALIDATE_STEPS, []):
        if isinstance(step, Mapping) and "mode" in (step.get("args") or {}):
            yield f"{VALIDATE_STEPS}: mode is not one of Resize2D's arguments"


def _types(steps: Any) -> Iterator[str]:
    """The type of each step of a list, and of those in the lists of steps."""
    for step in steps if isinstance(steps, list) else ():
        if isinstance(step, Mapping):
            yield str(step.get("type"))
            yield from _types(step.get("args"))
