"""Reading checkpoints without running their pickles, and loading their weights by key."""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ocdnet.errors import DataError

SUFFIXES = (".pth", ".tlt", ".ckpt", ".pt")
SPEC_KEY = "ocdnet_spec"
"""Key of a checkpoint that holds the resolved training spec."""
# What torch.load lets through for cut and garbled files, measured on some thousands of them.
DAMAGE = (
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True)
class Checkpoint:
    """Weights and what is known of their making.

    Attributes:
        path: where it was read.
        weights: tensors under the network's keys (backbone.*, neck.*, head.*).
        spec: the resolved training spec, empty if the file holds none (TAO's).
        full: whether training can resume from it.
    """

    path: Path
    weights: dict[str, Tensor]
    spec: Mapping[str, Any]
    full: bool

    @property
    def backbone(self) -> str | None:
        """Backbone it was trained with, where it says so."""
        name = self.spec.get("model", {}).get("backbone")
        return str(name) if name else None

    @property
    def img_mode(self) -> str | None:
        """Image mode it was trained with, where it says so."""
        dataset = self.spec.get("dataset", {})
        mode = dataset.get("train_dataset", {}).get("args", {}).get("img_mode")
        return str(mode) if mode else None


@dataclass(frozen=True)
class LoadReport:
    """How a checkpoint's keys met a network's."""

    loaded: list[str]
    missing: list[str]
    unexpected: list[str]
    mismatched: list[str]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of ours or of TAO, on the CPU, with `weights_only`.

    Raises:
        DataError: absent, damaged, holding pickled code, or without weights.
    """
    content = _read(path)
    if not isinstance(content, Mapping):
        raise _unusable(path, f"it holds a {type(content).__name__}")
    state = content.get("state_dict", content)
    if not isinstance(state, Mapping):
        raise _unusable(path, f"its state_dict is a {type(state).__name__}")
    weights = {
        str(key).removeprefix("model."): value
        for key, value in state.items()
        if isinstance(value, Tensor)
    }
    if not weights:
        raise _unusable(path, "it holds no weights")
    spec = content.get(SPEC_KEY, {})
    full = "optimizer_states" in content and "loops" in content
    return Checkpoint(path, weights, spec if isinstance(spec, Mapping) else {}, full)


def _read(path: Path) -> Any:
    if not path.is_file():
        raise DataError(
            "no-checkpoint",
            f"There is no checkpoint {path}",
            got=str(path),
            expected="a .pth file",
            hint="Training writes model_best.pth into <results_dir>/train.",
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if named is None:
            raise _unusable(path, "it is damaged or no checkpoint") from error
        raise DataError(
            "unsafe-checkpoint",
            f"{path} holds Python objects, which would run code when loaded",
            got=named.group(1),
            expected="tensors and plain values",
            hint="Save its state_dict alone: torch.save({'state_dict': model.state_dict()}, FILE).",
        ) from error
    except DAMAGE as error:
        raise _unusable(path, "it is damaged or no checkpoint") from error


def _unusable(path: Path, reason: str) -> DataError:
    return DataError(
        "bad-checkpoint",
        f"Cannot use the checkpoint {path}: {reason}",
        expected="a .pth file written by training",
        hint="Check that the copy is whole.",
    )


def load_weights(model: nn.Module, checkpoint: Checkpoint) -> LoadReport:
    """Copy the tensors whose key and shape fit; the rest of the network stays as it is."""
    own = model.state_dict()
    given = checkpoint.weights
    mismatched = [key for key in given if key in own and given[key].shape != own[key].shape]
    loaded = [key for key in given if key in own and key not in set(mismatched)]
    report = LoadReport(
        loaded=loaded,
        missing=[key for key in own if key not in given],
        unexpected=[key for key in given if key not in own],
        mismatched=mismatched,
    )
    model.load_state_dict({key: given[key] for key in loaded}, strict=False)
    return report


def load_exactly(model: nn.Module, checkpoint: Checkpoint, backbone: str) -> None:
    """Load weights that must fill the network.

    Args:
        model: network to fill.
        checkpoint: where from.
        backbone: the network's backbone, for the message.

    Raises:
        DataError: a key is missing or of another shape.
    """
    report = load_weights(model, checkpoint)
    wrong = report.mismatched or report.missing
    if not wrong:
        return
    trained = checkpoint.backbone
    other = trained is not None and trained != backbone
    raise DataError(
        "checkpoint-mismatch",
        f"The weights of {checkpoint.path} do not fit the network",
        got=f"backbone {trained}" if other else f"{len(wrong)} wrong keys, the first {wrong[0]}",
        expected=f"weights of a {backbone} network",
        hint=f"Set model.backbone={trained}." if other else "Set `model` as it was trained.",
    )


def load_pretrained(model: nn.Module, checkpoint: Checkpoint) -> LoadReport:
    """Start from whatever fits; at least half of the backbone must.

    Raises:
        DataError: under half of the backbone's tensors matched.
    """
    report = load_weights(model, checkpoint)
    backbone = [key for key in model.state_dict() if key.startswith("backbone.")]
    matched = sum(key.startswith("backbone.") for key in report.loaded)
    if 2 * matched < len(backbone):
        raise DataError(
            "pretrained-mismatch",
            f"{checkpoint.path} has little in common with the network's backbone",
            got=f"{matched} of {len(backbone)} backbone tensors",
            expected="at least half of them",
            hint=f"It was trained with {checkpoint.backbone}." if checkpoint.backbone else None,
        )
    return report
