"""Calibration: the range of every tensor of a graph, by ONNX Runtime's calibrators."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import (
    CalibrationDataReader,
    CalibrationMethod,
    HistogramCalibrater,
)
from onnxruntime.quantization.calibrate import create_calibrator as _calibrator

from ocdnet.errors import DataError
from ocdnet.quantization.graphs import OPERATORS, Graph, prepared, quantizing
from ocdnet.quantization.histograms import BoundedHistograms, finite
from ocdnet.quantization.smoothing import Factors, smooth, smoothing_factors

_SMOOTHED_ON = 8
"""Batches that the smoothing factors are computed from; they are held in memory."""

ALGORITHMS: Mapping[str, tuple[CalibrationMethod, dict[str, Any]]] = {
    "minmax": (CalibrationMethod.MinMax, {}),
    "max": (CalibrationMethod.MinMax, {"symmetric": True}),
    "entropy": (CalibrationMethod.Entropy, {}),
    "percentile": (CalibrationMethod.Percentile, {"percentile": 99.999, "num_bins": 8192}),
}
"""Algorithms that find ranges of activations: the spec's of quantize, and the engines' own."""


@dataclass(frozen=True)
class Ranges:
    """Ranges of a graph's tensors.

    Attributes:
        algorithm: how they were found.
        values: (lowest, highest) of each tensor, by its name in the prepared and smoothed graph.
        factors: see `smoothing`.
    """

    algorithm: str
    values: Mapping[str, tuple[float, float]]
    factors: Factors

    def to_json(self) -> dict[str, Any]:
        """Plain values; see `from_json`."""
        values = {name: list(ends) for name, ends in self.values.items()}
        return {"algorithm": self.algorithm, "values": values, "factors": dict(self.factors)}

    @classmethod
    def from_json(cls, content: Any) -> Ranges:
        """The inverse of `to_json`.

        Raises:
            DataError: the content is not what `to_json` makes.
        """
        try:
            values = {
                str(name): (float(low), float(high))
                for name, (low, high) in content["values"].items()
            }
            factors = {str(k): [float(f) for f in v] for k, v in content["factors"].items()}
            finite = np.isfinite(np.array(list(values.values()))).all()
            positive = all(0 < factor < np.inf for row in factors.values() for factor in row)
            ranges = cls(str(content["algorithm"]), values, factors)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise _no_ranges(content) from error
        if not values or not finite or not positive:
            raise _no_ranges(content)
        return ranges


def _no_ranges(content: Any) -> DataError:
    return DataError(
        "bad-calibration",
        "There are no calibration ranges",
        got=str(content)[:100],
        expected="algorithm, values (the lowest and highest of each tensor) and factors",
        hint="Remove the file: calibration writes it anew.",
    )


class Reader(CalibrationDataReader):
    """Hands batches to ONNX Runtime's calibrators.

    Args:
        name: of the network's input.
        batches: float32[B, 3, H, W] each.
    """

    def __init__(self, name: str, batches: Iterable[NDArray[np.float32]]) -> None:
        self._batches: Iterator[dict[str, Any]] = ({name: batch} for batch in batches)

    def get_next(self) -> dict[str, Any] | None:
        """The next batch by the input's name; None behind the last."""
        return next(self._batches, None)


def calibrate(source: Path, batches: Iterable[NDArray[np.float32]], algorithm: str) -> Ranges:
    """Run images through a network and keep the ranges of its tensors.

    Args:
        source: ONNX file of one input.
        batches: float32[B, 3, H, W] each, at least one.
        algorithm: one of ALGORITHMS.

    Raises:
        DataError: no batches, a file that is no usable ONNX, or values that are not finite.
    """
    method, options = ALGORITHMS[algorithm]
    with tempfile.TemporaryDirectory() as folder, quantizing(source):
        graph = prepared(source, Path(folder))
        factors, every = smoothed(graph, batches)
        calibrator = _calibrator(
            str(graph.path),
            list(OPERATORS),
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=method,
            extra_options=options,
        )
        if isinstance(calibrator, HistogramCalibrater):
            calibrator.collector = BoundedHistograms(calibrator)
        for batch in every:
            # One batch a call: the calibrator holds the activations of all that it is given.
            with redirect_stdout(StringIO()):  # it prints a line for each
                calibrator.collect_data(Reader(graph.input, [batch]))
        with redirect_stdout(StringIO()):
            data = calibrator.compute_data().data
    values = {name: _range(name, collected) for name, collected in sorted(data.items())}
    return Ranges(algorithm, values, factors)


def smoothed(
    graph: Graph, batches: Iterable[NDArray[np.float32]]
) -> tuple[Factors, Iterator[NDArray[np.float32]]]:
    """Smooth a prepared graph in place, by factors computed from the first batches.

    Returns:
        The factors, and all batches again.

    Raises:
        DataError: no batches.
    """
    waiting = iter(batches)
    first = list(islice(waiting, _SMOOTHED_ON))
    if not first:
        raise DataError("no-images", "There are no calibration images", expected="one or more")
    model = onnx.load(graph.path)
    factors = smoothing_factors(model, first)
    smooth(model, factors)
    onnx.save(model, graph.path)
    return factors, chain(first, waiting)


def _range(name: str, collected: Any) -> tuple[float, float]:
    low, high = (finite(name, end) for end in collected.range_value)
    return float(np.min(low)), float(np.max(high))
