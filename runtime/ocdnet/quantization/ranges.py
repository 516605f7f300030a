"""What calibration finds: the range of every tensor of a graph, by ONNX Runtime's calibrators."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.calibrate import create_calibrator as _calibrator

from ocdnet.errors import DataError
from ocdnet.quantization.graphs import OPERATORS, prepared

ALGORITHMS: Mapping[str, tuple[CalibrationMethod, dict[str, Any]]] = {
    "minmax": (CalibrationMethod.MinMax, {}),
    "max": (CalibrationMethod.MinMax, {"symmetric": True}),
    "entropy": (CalibrationMethod.Entropy, {}),
}
"""Those of the spec's algorithms that find ranges of activations."""


@dataclass(frozen=True)
class Ranges:
    """Ranges of a graph's tensors.

    Attributes:
        algorithm: how they were found.
        values: (lowest, highest) of each tensor, by its name in the prepared graph.
    """

    algorithm: str
    values: Mapping[str, tuple[float, float]]

    def to_json(self) -> dict[str, Any]:
        """Plain values; see `from_json`."""
        return {"algorithm": self.algorithm, "values": {k: list(v) for k, v in self.values.items()}}

    @classmethod
    def from_json(cls, content: Any) -> Ranges:
        """The inverse of `to_json`.

        Raises:
            DataError: it is none of ours.
        """
        try:
            values = {
                str(name): (float(low), float(high))
                for name, (low, high) in content["values"].items()
            }
            finite = np.isfinite(np.array(list(values.values()))).all()
            found = cls(str(content["algorithm"]), values)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise _no_ranges(content) from error
        if not values or not finite:
            raise _no_ranges(content)
        return found


def _no_ranges(content: Any) -> DataError:
    return DataError(
        "bad-calibration",
        "There are no calibration ranges",
        got=str(content)[:100],
        expected="algorithm, and values: the lowest and highest of each tensor",
        hint="Remove the file: calibration writes it anew.",
    )


class _Reader(CalibrationDataReader):
    """One batch: histograms are taken batch by batch, as whole activations are large."""

    def __init__(self, name: str, batch: NDArray[np.float32]) -> None:
        self._batches: Iterator[dict[str, Any]] = iter([{name: batch}])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)


def calibrate(source: Path, batches: Iterable[NDArray[np.float32]], algorithm: str) -> Ranges:
    """Run images through a network and keep what its tensors reach.

    Args:
        source: ONNX file of one input.
        batches: float32[B, 3, H, W] each, at least one.
        algorithm: one of ALGORITHMS.

    Raises:
        DataError: no batches, or a file that is no usable ONNX.
    """
    method, options = ALGORITHMS[algorithm]
    with tempfile.TemporaryDirectory() as folder:
        graph = prepared(source, Path(folder))
        calibrator = _calibrator(
            str(graph.path),
            list(OPERATORS),
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=method,
            extra_options=options,
        )
        seen = 0
        for batch in batches:
            calibrator.collect_data(_Reader(graph.input, batch))
            seen += len(batch)
        if not seen:
            raise DataError("no-images", "There are no calibration images", expected="one or more")
        data = calibrator.compute_data().data
    return Ranges(algorithm, {name: _range(found) for name, found in sorted(data.items())})


def _range(found: Any) -> tuple[float, float]:
    low, high = found.range_value
    return float(np.min(low)), float(np.max(high))
