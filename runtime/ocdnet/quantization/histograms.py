"""ONNX Runtime's histograms of activations, bounded where a tensor hardly varies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import HistogramCalibrater, HistogramCollector

from ocdnet.errors import DataError

_GROWTH = 64
"""How many times its first range a histogram may grow by bins of the same width: of a first batch
that is nearly 0 there would be billions of them."""
_NOTHING = 1e-30
"""Magnitudes below it count as 0: numpy cannot divide their range into bins."""


class BoundedHistograms(HistogramCollector):
    """The collector of a calibrator; the same as its own wherever that works.

    Raises:
        DataError: a tensor is NaN or infinite on a calibration image.
    """

    def __init__(self, of: HistogramCalibrater) -> None:
        super().__init__(
            method=of.method,
            symmetric=of.symmetric,
            num_bins=of.num_bins,
            num_quantized_bins=of.num_quantized_bins,
            percentile=of.percentile,
            scenario=of.scenario,
        )

    def collect_absolute_value(self, name_to_arr: Mapping[str, Any]) -> None:
        """Add magnitudes, as ONNX Runtime's or, where they are nearly constant, from 0 on."""
        for tensor, given in name_to_arr.items():
            values = finite(tensor, given)
            top = float(np.abs(values).max(initial=0))
            edges = self.histogram_dict[tensor][1] if tensor in self.histogram_dict else None
            if edges is not None and top > edges[-1] + _GROWTH * (edges[-1] - edges[0]):
                self._from_zero(tensor, values, top)
                continue
            try:
                super().collect_absolute_value({tensor: values})
            except ValueError:
                self._from_zero(tensor, values, top)

    def _from_zero(self, tensor: str, values: NDArray[np.float32], top: float) -> None:
        """A new histogram from 0 to the largest magnitude, with the counts of the one before."""
        magnitudes = np.abs(values, dtype=np.float64).ravel()
        low, high = (float(end(values, initial=0)) for end in (np.min, np.max))
        counts = np.ones(magnitudes.size, np.int64)
        if tensor in self.histogram_dict:
            before, edges, least, most = self.histogram_dict[tensor]
            magnitudes = np.append(magnitudes, (edges[:-1] + edges[1:]) / 2)
            counts = np.append(counts, before)
            low, high = min(low, float(least)), max(high, float(most))
            top = max(top, float(edges[-1]))
        top = top if top > _NOTHING else 1.0
        hist, edges = np.histogram(magnitudes, self.num_bins, range=(0, top), weights=counts)
        ends = np.float32(low), np.float32(high)
        self.histogram_dict[tensor] = (hist, edges.astype(np.float32), *ends)

    def collect_value(self, name_to_arr: Mapping[str, Any]) -> None:
        """Add values, as ONNX Runtime's; those near 0 as 0."""
        for tensor, given in name_to_arr.items():
            values = finite(tensor, given)
            if np.abs(values).max(initial=0) <= _NOTHING:
                values = np.zeros_like(values)
            super().collect_value({tensor: values})

    def merge_histogram(
        self, old_histogram: Any, data_arr: Any, new_min: Any, new_max: Any, new_threshold: Any
    ) -> Any:
        """Add values to a histogram, as ONNX Runtime's; one that would grow too far starts anew."""
        hist, edges, low, high, threshold = old_histogram
        if threshold == 0 or new_threshold <= _GROWTH * threshold:
            return super().merge_histogram(old_histogram, data_arr, new_min, new_max, new_threshold)
        ends = (-new_threshold, new_threshold)
        added, grown = np.histogram(data_arr, self.num_bins, range=ends)
        centres = (edges[:-1] + edges[1:]) / 2
        kept, _ = np.histogram(centres, self.num_bins, range=ends, weights=hist)
        return added + kept, grown, min(low, new_min), max(high, new_max), new_threshold


def finite(tensor: str, values: Any) -> NDArray[np.float32]:
    """The values of a tensor; raises DataError where one is NaN or infinite."""
    array = np.asarray(values, np.float32)
    if not np.isfinite(array).all():
        raise DataError(
            "not-finite",
            f"The network computes NaN or infinite values in {tensor} on the calibration images",
            expected="finite values",
            hint="Its weights are damaged, or mean, std and scale in the JSON file beside it are "
            "wrong; evaluate it before.",
        )
    return array
