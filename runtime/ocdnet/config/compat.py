"""Keys that exist so that TAO's specs load, and what is said when one is set to something else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ocdnet.config.problems import SpecFieldError


@dataclass(frozen=True)
class Compat:
    """One compatibility key.

    Attributes:
        key: dotted key.
        says: why it has no effect, or why it is refused.
        refused: an error rather than a notice.
        quiet: values that mean nothing different from the default and are passed over.
    """

    key: str
    says: str
    refused: bool = False
    quiet: tuple[Any, ...] = ()


_COLLATE = "batches are always collated to fit their images"
_COLLATE_NAMES = ("", "ICDARCollateFN")
_FILTER = "samples hold nothing to filter"
_TAO_FILTER = ["img_path", "img_name", "text_polys", "texts", "ignore_tags", "shape"]
_FILTERS: tuple[Any, ...] = ([], [""], _TAO_FILTER)

COMPAT = (
    Compat("encryption_key", "models are not encrypted"),
    Compat("dataset.train_dataset.args.filter_keys", _FILTER, quiet=_FILTERS),
    Compat("dataset.train_dataset.loader.collate_fn", _COLLATE, quiet=_COLLATE_NAMES),
    Compat("dataset.validate_dataset.args.filter_keys", _FILTER, quiet=_FILTERS),
    Compat("dataset.validate_dataset.loader.collate_fn", _COLLATE, quiet=_COLLATE_NAMES),
    Compat("inference.show", "no windows are opened; see the pictures in the results folder"),
    Compat("model.activation_checkpoint", "only memory would change, and that is not built yet"),
    Compat("model.pretrained", "starting weights are what model.pretrained_model_path names"),
    Compat("model.quant", "quantization-aware training is not supported", True),
    Compat("train.use_distributed_sampler", "several devices always read different samples"),
    Compat("wandb.enable", "logging to Weights & Biases is not built yet"),
)
"""Every key that is accepted for compatibility alone."""


def check(tree: dict[str, Any], defaults: dict[str, Any]) -> Iterator[SpecFieldError | str]:
    """A problem for each refused key and a notice for each ignored one that the action reads.

    Args:
        tree: the resolved spec of the sections that the action reads.
        defaults: the default of every key.
    """
    for entry in COMPAT:
        parts = entry.key.split(".")
        if parts[0] not in tree:
            continue
        value, default = _get(tree, parts), _get(defaults, parts)
        if value == default or value in entry.quiet:
            continue
        if entry.refused:
            message = f"{entry.key!r}: {entry.says}"
            yield SpecFieldError(
                "unsupported-value", entry.key, message, got=value, expected=repr(default)
            )
        else:
            yield f"{entry.key!r} is ignored: {entry.says}"


def _get(tree: dict[str, Any], parts: list[str]) -> Any:
    value: Any = tree
    for part in parts:
        value = value[part]
    return value
