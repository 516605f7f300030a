"""The spec that tune writes: the one given, with the settings found, for evaluate and inference."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ocdnet.config import schema, spec
from ocdnet.config.spec import Loaded
from ocdnet.data.steps import eval_preprocess
from ocdnet.errors import SpecError
from ocdnet.files import write_text
from ocdnet.findings import note
from ocdnet.tree import keys, overrides

_PICTURES = ("width", "height", "resize", "img_mode")
"""Keys of inference that say how pictures reach the network."""


def refuse_existing(path: Path) -> None:
    """Raise SpecError where there is something at a path that is to be written."""
    if os.path.lexists(path):
        raise SpecError(
            "file-exists",
            f"{path} exists, and is not written over",
            got=str(path),
            expected="a new file",
            hint="Give another name with --write, or remove it.",
        )


def note_other_pictures(tree: Mapping[str, Any], loaded: Loaded) -> None:
    """Note each key by which inference reads other pictures than those that the settings suit.

    Args:
        tree: the spec as it was given, overrides included.
        loaded: the same, checked.
    """
    for key, value in _for_inference(loaded).items():
        name = f"inference.{key}"
        written = keys.get(tree, name, value)
        if key in _PICTURES and written != value:
            note(
                "other-pictures",
                f"{name} is {written!r}, but the settings are found with {value!r}: "
                "they may not suit",
                key=name,
            )


def write_tuned(
    path: Path, tree: Mapping[str, Any], loaded: Loaded, settings: Sequence[str]
) -> None:
    """Write the spec.

    Args:
        path: the file; it does not exist.
        tree: the spec as it was given, overrides included.
        loaded: the same, checked.
        settings: `key=value` texts to set in it.

    Raises:
        UserError: it can't be written.
    """
    merged = overrides.apply(dict(tree), settings, schema.experiment(), ())
    for key, value in _for_inference(loaded).items():
        if not keys.has(merged, f"inference.{key}"):
            keys.set(merged, f"inference.{key}", value)
    write_text(path, spec.to_yaml(merged))


def _for_inference(loaded: Loaded) -> dict[str, Any]:
    """The model and how pictures are prepared: with others the settings would not suit."""
    evaluate = loaded.experiment.evaluate
    preprocess = eval_preprocess(loaded.experiment.dataset.validate_dataset.args)
    size = preprocess.size if isinstance(preprocess.size, tuple) else ()
    model = {"trt_engine": evaluate.trt_engine} if evaluate.trt_engine else {}
    return {
        **(model or {"checkpoint": evaluate.checkpoint}),
        **dict(zip(("width", "height"), size, strict=False)),
        "resize": preprocess.resize,
        "img_mode": preprocess.img_mode,
    }
