"""Keys that exist so that TAO's specs load, and what is said when one is set to something else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ocdnet.tree import keys


@dataclass(frozen=True)
class Compat:
    """One compatibility key.

    Attributes:
        key: dotted key.
        says: why it has no effect.
        quiet: values that mean nothing different from the default and are passed over.
    """

    key: str
    says: str
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
    Compat("model.pretrained", "starting weights are what model.pretrained_model_path names"),
    Compat("train.use_distributed_sampler", "several devices always read different samples"),
)
"""Every key that is accepted for compatibility alone."""


def notices(tree: dict[str, Any], defaults: dict[str, Any]) -> Iterator[str]:
    """A notice for each key set to something else that the action would read.

    Args:
        tree: the resolved spec of the sections that the action reads.
        defaults: the default of every key.
    """
    for entry in COMPAT:
        default = keys.get(defaults, entry.key)
        value = keys.get(tree, entry.key, default)  # of a section that is not read, the default
        if value != default and value not in entry.quiet:
            yield f"{entry.key!r} is ignored: {entry.says}"
