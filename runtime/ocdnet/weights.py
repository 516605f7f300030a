"""Checkpoints: weights under the keys of our network, and how they meet it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ocdnet.checkpoint import (
    INPUT_KEY,
    PRUNED_KEY,
    QUANTIZED_KEY,
    SCALE,
    SPEC_KEY,
    START_KEY,
    Checkpoint,
)
from ocdnet.config.model import ModelConfig
from ocdnet.errors import DataError
from ocdnet.install import missing_package
from ocdnet.key_maps import COMPUTES, Input, translate
from ocdnet.models.channels import ChannelMismatch, fit_channels
from ocdnet.models.factory import BACKBONES
from ocdnet.models.quantized import Int8, install
from ocdnet.spec_keys import LOAD_PRUNED
from ocdnet.tree import keys
from ocdnet.unpickle import read_pickle, unusable

INPUT_SCALE = "input_scale"
"""Behind a layer's name and a dot: the key of the scale that its input is rounded with."""
# Ours, TAO's and timm's; torchvision's training scripts; a common habit.
_STATES = ("state_dict", "model", "model_state_dict")


@dataclass(frozen=True)
class LoadReport:
    """Which of a checkpoint's keys fit a network; every list is in the order of its source."""

    source: str
    loaded: list[str]
    missing: list[str]
    unexpected: list[str]
    mismatched: list[str]

    def lines(self, shown: int = 4) -> list[str]:
        """The report for a log: counts, and the first few names of what did not fit."""
        rest = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape": self.mismatched,
        }
        counts = ", ".join(f"{len(names)} {fate}" for fate, names in rest.items())
        return [
            f"{len(self.loaded)} tensors loaded, {counts}.",
            *(f"{fate}: {_first(names, shown)}" for fate, names in rest.items() if names),
        ]


def _first(names: list[str], shown: int) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def save(content: Mapping[str, Any], path: Path) -> None:
    """Write tensors and plain values, as torch does.

    Raises:
        OSError: the disk is full, or the file can't be written.
    """
    with path.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # torch hides the disk's error, or the user's Ctrl-C, behind a RuntimeError of its own.
            if isinstance(error.__context__, OSError | KeyboardInterrupt):
                raise error.__context__ from None
            raise


def read_checkpoint(path: Path) -> Checkpoint:
    """Read weights on the CPU, with `weights_only`.

    Taken are checkpoints of ours, of TAO, of the original DB release and of mmocr, the classifiers
    whose features our backbones are (`ocdnet.key_maps`), and packed ONNX files (`ocdnet.packed`).

    Raises:
        DataError: absent, damaged, encrypted, holding pickled code, without weights, or with
            weights that are NaN or infinite.
        EnvironmentFault: a packed file, and the package that reads it is missing.
    """
    if path.suffix == ".onnx":
        return checkpoint_of(path, _packed(path))
    return checkpoint_of(path, read_pickle(path))


def _packed(path: Path) -> Mapping[str, Any]:
    try:
        from ocdnet.packed import content  # noqa: PLC0415 - only such files need ONNX
    except ModuleNotFoundError as error:
        raise missing_package(error, f"Reading {path.name}") or error from error
    return content(path)


def checkpoint_of(path: Path, content: Any) -> Checkpoint:
    """The weights in the content of a file; raises as `read_checkpoint`."""
    if not isinstance(content, Mapping):
        raise unusable(path, f"it holds a {type(content).__name__}")
    if content.get("state_dict_encrypted") is True:
        raise unusable(path, "TAO encrypted its weights, which cannot be read here")
    state = next((content[key] for key in _STATES if key in content), content)
    if not isinstance(state, Mapping):
        raise unusable(path, f"its state_dict is a {type(state).__name__}")
    tensors = {str(key): value for key, value in state.items() if _is_plain(value)}
    if not tensors:
        raise unusable(path, "it holds no weights")
    kind, names = translate(tensors)
    weights = {name: tensors[key] for key, name in names.items()}
    for name in kind.turned:
        if name in weights:
            weights[name] = _turned(weights[name])
    int8 = _take_int8(path, weights) if QUANTIZED_KEY in content else {}
    _check_finite(path, weights)
    stored = content.get(SPEC_KEY)
    ours = isinstance(stored, Mapping)
    spec: Mapping[str, Any] = stored if isinstance(stored, Mapping) else {}
    return Checkpoint(
        path,
        weights,
        spec,
        full=ours and "optimizer_states" in content and "loops" in content,
        source="ocdnet's training" if ours else kind.source,
        pruned=PRUNED_KEY in content or keys.get(spec, LOAD_PRUNED) is True,
        int8=int8,
        input=_input(path, content[INPUT_KEY]) if INPUT_KEY in content else kind.input,
        start=_start(content.get(START_KEY)),
    )


def _turned(weight: Tensor) -> Tensor:
    """A convolution's weights with the four blocks of its input channels in the opposite order."""
    return torch.cat(weight.chunk(4, dim=1)[::-1], dim=1)


def _input(path: Path, stored: Any) -> Input:
    """What a file of ours says of its network's input."""
    try:
        mean, divisor = (tuple(map(float, stored[key])) for key in ("mean", "divisor"))
        good = len(mean) == len(divisor) == 3 and all(divisor)
    except (KeyError, TypeError, ValueError):
        good = False
    if not good or stored.get("img_mode") not in ("RGB", "BGR"):
        raise unusable(path, f"its {INPUT_KEY} makes no sense")
    return Input(stored["img_mode"], mean, divisor)


def _start(stored: Any) -> dict[str, str]:
    """What a file says of the weights that it started from; empty where it makes no sense."""
    names = ("weights", "sha256")
    if not isinstance(stored, Mapping) or not all(isinstance(stored.get(n), str) for n in names):
        return {}
    return {name: stored[name] for name in names}


def _check_finite(path: Path, weights: Mapping[str, Tensor]) -> None:
    for key, value in weights.items():
        finite = torch.isfinite(value.float())
        if not finite.all():
            raise DataError(
                "not-finite",
                f"{path} holds weights that are NaN or infinite",
                got=f"{int((~finite).sum())} of {value.numel()} values of {key}",
                expected="finite weights",
                hint="Take a checkpoint from before the training diverged.",
            )


def _take_int8(path: Path, weights: dict[str, Tensor]) -> dict[str, Int8]:
    """Take int8 weights and their scales out of `weights`, and put the float ones there instead."""
    int8: dict[str, Int8] = {}
    for key in [key for key, value in weights.items() if value.dtype == torch.int8]:
        scale = weights.pop(key + SCALE, None)
        if scale is None or scale.ndim != weights[key].ndim or not scale.is_floating_point():
            raise unusable(path, f"the int8 weight {key} has no scale")
        name = key.removesuffix(".weight")
        int8[name] = Int8(weights[key], scale, weights.pop(f"{name}.{INPUT_SCALE}", None))
    weights.update({f"{name}.weight": weight.dequantized() for name, weight in int8.items()})
    return int8


def quantized_content(
    source: Checkpoint,
    backbone: str,
    state: Mapping[str, Tensor],
    weights: Mapping[str, Int8],
    how: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of a quantized file.

    Args:
        source: what was quantized; its spec, input, start, and that it was pruned, are carried on.
        backbone: of the network.
        state: its tensors in float.
        weights: its int8 weights, by layer.
        how: how they were made.
    """
    tensors = {key: value.cpu() for key, value in state.items()}
    for name, weight in weights.items():
        tensors[f"{name}.weight"] = weight.values.cpu()
        tensors[f"{name}.weight{SCALE}"] = weight.scale.cpu()
        if weight.input_scale is not None:
            tensors[f"{name}.{INPUT_SCALE}"] = weight.input_scale.cpu()
    return {
        "state_dict": tensors,
        SPEC_KEY: dict(source.spec) or {"model": {"backbone": backbone}},
        QUANTIZED_KEY: dict(how),
        **({PRUNED_KEY: {}} if source.pruned else {}),
        **source.carried(),
    }


def _is_plain(value: object) -> bool:
    """A tensor that fits a network's: neither quantized, sparse, complex nor without content."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not value.is_meta
        and (value.is_floating_point() or value.dtype in (torch.int64, torch.int8))
    )


def load_weights(model: nn.Module, checkpoint: Checkpoint) -> LoadReport:
    """Copy the tensors whose key and shape fit; the rest of the network stays as it is."""
    own = model.state_dict()
    given = checkpoint.weights
    mismatched = [key for key in given if key in own and given[key].shape != own[key].shape]
    loaded = [key for key in given if key in own and key not in set(mismatched)]
    report = LoadReport(
        source=checkpoint.source,
        loaded=loaded,
        missing=[key for key in own if key not in given],
        unexpected=[key for key in given if key not in own],
        mismatched=mismatched,
    )
    model.load_state_dict({key: given[key] for key in loaded}, strict=False)
    return report


def load_exactly(model: nn.Module, checkpoint: Checkpoint, backbone: str) -> None:
    """Load weights that must fill the network, which takes the channels of a pruned one.

    Args:
        model: network to fill.
        checkpoint: where from.
        backbone: the network's backbone, for the message.

    Raises:
        DataError: a key is missing or of another shape, or the file's backbone has more of them.
    """
    if checkpoint.pruned:
        _take_channels(model, checkpoint, backbone)
    report = load_weights(model, checkpoint)
    # A deeper or a deformable backbone has all keys of a plain one, but computes something else.
    surplus = [key for key in report.unexpected if COMPUTES.match(key)]
    wrong = report.mismatched or report.missing or surplus
    if not wrong:
        install(model, checkpoint.int8)
        return
    trained = checkpoint.backbone or fitting_backbone(checkpoint.weights)
    other = trained is not None and trained != backbone
    raise DataError(
        "checkpoint-mismatch",
        f"The weights of {checkpoint.path} do not fit the network",
        got=f"backbone {trained}" if other else f"{len(wrong)} wrong keys, the first {wrong[0]}",
        expected=f"weights of a {backbone} network",
        hint=f"Set model.backbone={trained}." if other else "Set `model` as it was trained.",
    )


def _take_channels(model: nn.Module, checkpoint: Checkpoint, backbone: str) -> None:
    try:
        fit_channels(model, checkpoint.weights)
    except ChannelMismatch as error:
        raise DataError(
            "checkpoint-mismatch",
            f"The pruned network of {checkpoint.path} is no {backbone} with fewer channels",
            got=str(error),
            expected=f"weights of a pruned {backbone} network",
            hint=f"Set model.backbone={checkpoint.backbone}."
            if checkpoint.backbone not in (None, backbone)
            else "Set `model` as it was when the network was pruned.",
        ) from error


def load_pruned(model: nn.Module, checkpoint: Checkpoint, backbone: str) -> None:
    """Give a network the channels that pruning has left, and their weights.

    Raises:
        DataError: the file is no pruned network, or does not fit.
    """
    if not checkpoint.pruned:
        raise DataError(
            "not-pruned",
            f"{checkpoint.path} is no pruned network ({checkpoint.source})",
            expected="a pruned_<ch_sparsity>.pth, or a checkpoint of a training from one",
            hint=f"To start from these weights: model.load_pruned_graph=false "
            f"model.pretrained_model_path={checkpoint.path}",
        )
    load_exactly(model, checkpoint, backbone)


def load_pretrained(model: nn.Module, checkpoint: Checkpoint, backbone: str) -> LoadReport:
    """Load what fits, to start training from it; most of the backbone must fit.

    Weights of plain convolutions fill deformable ones, whose offsets stay at zero.

    Args:
        model: network to fill.
        checkpoint: where from.
        backbone: the network's backbone, for the message.

    Raises:
        DataError: under half of the network's backbone was filled, or over a quarter of the file's
            was left over, as of a deeper backbone.
    """
    report = load_weights(model, checkpoint)
    needed, given = _kernels(model.state_dict()), _kernels(checkpoint.weights)
    used = len(needed & given)
    if 2 * used < len(needed):
        raise _mismatch(checkpoint, backbone, f"{used} of the {len(needed)} it needs")
    if 4 * used < 3 * len(given):
        raise _mismatch(checkpoint, backbone, f"{len(given)}, of which {used} have a place")
    return report


def _kernels(state: Mapping[str, Tensor]) -> set[tuple[str, torch.Size]]:
    """Name and shape of a backbone's weights.

    Biases and normalisations are left out: they are short enough to fit networks of other kinds.
    """
    return {
        (key, value.shape)
        for key, value in state.items()
        if key.startswith("backbone.") and value.ndim > 1
    }


def _mismatch(checkpoint: Checkpoint, backbone: str, got: str) -> DataError:
    right = checkpoint.backbone or fitting_backbone(checkpoint.weights)
    return DataError(
        "pretrained-mismatch",
        f"{checkpoint.path} ({checkpoint.source}) is not of the backbone {backbone}",
        got=f"backbone weights: {got}",
        expected=f"weights of a {backbone} network, or most of its backbone",
        hint=f"They are of {right}: set model.backbone={right}."
        if right not in (None, backbone)
        else "Remove model.pretrained_model_path, or name other weights.",
    )


def fitting_backbone(weights: Mapping[str, Tensor]) -> str | None:
    """The backbone that has most in common with these weights, if it is over half of either's."""
    given, best, most = _kernels(weights), None, 0.5
    for name, build in BACKBONES.items():
        config: Any = {"backbone": name}
        with torch.device("meta"):
            backbone = build(ModelConfig(**config))
        needed = _kernels(
            {f"backbone.{key}": value for key, value in backbone.state_dict().items()}
        )
        share = len(given & needed) / len(given | needed)
        if share > most:
            best, most = name, share
    return best
