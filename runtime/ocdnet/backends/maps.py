"""What a network answers: probability maps, or an error that says what it answered instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocdnet.backends.base import Batch, Predictor
from ocdnet.backends.sidecar import PAGE, beside
from ocdnet.errors import DataError, out_of_memory
from ocdnet.findings import note

REFUSED = "network-refused"
"""Code of the error for a batch that a network cannot compute."""
_ROUNDING = 1e-3
"""How far from 0..1 a probability may lie without a word: what FP16 makes of it."""
_OVERSHOOT = 0.05
"""How far it may lie with a warning: what a bicubic Resize at the network's end makes of it."""


def refused(path: Path, images: Batch, error: BaseException) -> DataError:
    """The error for a batch that a runtime does not compute; the session adds the spec's keys.

    Raises:
        MemoryError: memory ran out, which says nothing about the network.
    """
    if out_of_memory(error):
        raise MemoryError(str(error)) from error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    number, _, height, width = images.shape
    return DataError(
        REFUSED,
        f"{path} cannot compute a batch of {number} at {width}x{height}",
        got=(lines[-1] if lines else type(error).__name__)[:300],
        expected="a network that takes float32[batch, 3, height, width] of this batch and size",
    )


def probability_maps(
    answer: Any, images: Batch, path: Path, *, logits: bool = False, channel: int | None = None
) -> Batch:
    """The answer of a network as probabilities, float32[B, H, W].

    Args:
        answer: its output, [B, C, H, W] or [B, H, W].
        images: what it was given, float32[B, 3, H, W].
        path: its file.
        logits: whether the output still needs a sigmoid.
        channel: which of the channels is text; None: the first, with a warning if there are others.

    Raises:
        DataError: the answer is no map for each image, or has no such channel.
    """
    if not isinstance(answer, np.ndarray) or answer.dtype.kind != "f":
        kind = answer.dtype if isinstance(answer, np.ndarray) else type(answer).__name__
        raise _no_map(path, str(kind), images, "floating-point numbers")
    if answer.ndim not in (3, 4) or answer.shape[-2:] != images.shape[-2:] or not answer.size:
        raise _no_map(path, list(answer.shape), images, [len(images), 1, *images.shape[-2:]])
    if len(answer) != len(images):
        number, _, height, width = images.shape
        raise DataError(
            REFUSED,
            f"{path} answers a batch of {number} at {width}x{height} with {len(answer)} maps",
            got=list(answer.shape),
            expected=[len(images), 1, *images.shape[-2:]],
        )
    channels = answer.shape[1] if answer.ndim == 4 else 1
    if channel is not None and channel >= channels:
        raise DataError(
            "no-such-channel",
            f"The map of {path} has not the channel that {beside(path)} names",
            got=f"channel {channel}",
            expected=f"0 to {channels - 1}",
        )
    if channels > 1 and channel is None:
        note(
            "several-channels",
            f"The network's map has {channels} channels, of which the first is read; "
            f"`channel` in {beside(path).name} names the one that is text ({PAGE})",
            key="channel",
            file=path,
            count=len(images),
        )
    chosen = answer[:, channel or 0] if answer.ndim == 4 else answer
    chosen = np.asarray(chosen, np.float32)
    # As sigmoid, without overflow for large negative numbers.
    return np.asarray(0.5 * (1 + np.tanh(0.5 * chosen)), np.float32) if logits else chosen


def check_map(
    probability: NDArray[np.float32], predictor: Predictor, file: Path | str | None
) -> None:
    """Check that a map holds probabilities.

    Args:
        probability: float32[H, W] of the predictor.
        predictor: the network.
        file: name of the image; None: a picture of noise, whose map may be odd.

    Raises:
        DataError: a value is not finite, or no probability by far.
    """
    # A NaN anywhere makes both of them NaN.
    low, high = float(probability.min()), float(probability.max())
    if not np.isfinite([low, high]).all():
        raise _not_finite(predictor.path, file, (low, high))
    if low < -_OVERSHOOT or high > 1 + _OVERSHOOT:
        raise _not_in_range(predictor.path, file, (low, high))
    if file is None:
        return
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        message = f"The network's map lies outside 0..1 by up to {_OVERSHOOT}"
        _note(predictor, file, message, "output")
    elif low >= 0.5:
        message = "No pixel of the network's map is below 0.5, as if a sigmoid was applied twice"
        _note(predictor, file, f"{message} or the map was of the background", "logits")


def _note(predictor: Predictor, file: Path | str, message: str, key: str) -> None:
    where = beside(predictor.path).name
    note("odd-maps", f"{message}; see `{key}` in {where} ({PAGE})", key=key, file=file)


def _no_map(path: Path, got: Any, images: Batch, expected: Any) -> DataError:
    number, _, height, width = images.shape
    return DataError(
        "no-probability-map",
        f"{path} does not return a map of its input's size (batch {number}, {width}x{height})",
        got=got,
        expected=expected,
        hint=f"Name the right output in {beside(path)}; see {PAGE}.",
    )


def _of(file: Path | str | None) -> str:
    return f" for {file}" if file else " for an image of noise"


def _not_finite(path: Path, file: Path | str | None, got: tuple[float, float]) -> DataError:
    return DataError(
        "not-finite",
        f"The output of {path}{_of(file)} holds NaN or infinite values",
        got=[str(value) for value in got],
        expected="probabilities, 0..1",
        hint="The weights are damaged, the numbers overflow (in FP16: build the engine with "
        "gen_trt_engine.tensorrt.data_type=FP32), or mean, std and scale in "
        f"{beside(path).name} are wrong.",
    )


def _not_in_range(path: Path, file: Path | str | None, got: tuple[float, float]) -> DataError:
    return DataError(
        "no-probabilities",
        f"The output of {path}{_of(file)} holds no probabilities",
        got=f"values from {got[0]:.4g} to {got[1]:.4g}",
        expected="0..1",
        hint=f'Where the output still needs a sigmoid, set "logits": true in the JSON file beside '
        f"the ONNX file (and build engines of it again); else name the right `output`; see {PAGE}.",
    )
