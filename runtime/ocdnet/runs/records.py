"""What a finished run writes: results.json, which its command prints in brief.

schemas/results.schema.json is generated from these fields.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from ocdnet.files import write_json
from ocdnet.runs.files import EPOCH_PATTERN, RESULTS
from ocdnet.runs.names import Metric
from ocdnet.runs.parsing import read
from ocdnet.runs.searches import SearchResult
from ocdnet.runs.status_line import Metrics, PartialScores
from ocdnet.runs.typed import (
    Amount,
    Count,
    Pattern,
    Record,
    Result,
    Unit,
    record,
    to_json,
)

TrainAction = Literal["train", "retrain"]


@record
class Scores(Record):
    """How well a model finds text."""

    hmean: Unit
    """Harmonic mean of precision and recall."""
    precision: Unit
    """Share of the detections that are right."""
    recall: Unit
    """Share of the text regions that are found."""


@record
class BestMetric(Record):
    """A metric and its value."""

    name: Metric
    value: float | None


@record
class StartingWeights(Record):
    """The weights from which a training started."""

    weights: str
    """Name or path, as the spec gave it."""
    sha256: str
    """Of the file."""


@record
class TrainResult(Result):
    """Of train and retrain."""

    action: TrainAction
    results_dir: str
    """Folder of the run."""
    epochs: Count
    """Epochs trained, those before a resumption included."""
    best_epoch: Count
    """Epoch of model_best.pth, counted from 0."""
    best_metric: BestMetric
    """The metric that chose it."""
    best_checkpoint: str
    """Path of model_best.pth."""
    checkpoints: tuple[Annotated[str, Pattern(EPOCH_PATTERN)], ...]
    """Names of the epochs' checkpoints."""
    last_metrics: Metrics
    """Metrics of the last epoch."""
    start: StartingWeights | None = None
    """Absent where it started from random ones."""


@record
class MatchCounts(Record):
    """What scores are made of."""

    matched: Count
    """Detections that match a text region."""
    gt_care: Count
    """Text regions that count."""
    det_care: Count
    """Detections that count."""


@record
class Thresholds(Record):
    """Of the post-processing."""

    thresh: Unit
    box_thresh: Unit


@record
class ImageName(Record):
    """Which image."""

    image: str


@record
class ImageScores(MatchCounts, Scores, ImageName):
    """Of one image."""


@record
class EvaluateResult(Scores, Result):
    """Of evaluate, of a checkpoint or an engine."""

    action: Literal["evaluate", "deploy_evaluate"]
    counts: MatchCounts
    """Counts over all images."""
    images: Count
    """How many images were scored."""
    checkpoint: str
    """Model that was scored."""
    backend: str | None = None
    """What ran it: torch, onnxruntime, openvino or tensorrt."""
    resize: str | None = None
    """How images came to the network's size."""
    thresholds: Thresholds
    """Thresholds of the post-processing."""
    results: str
    """Path of this file."""
    per_image: tuple[ImageScores, ...] | None = None
    """The same of each image; not in what the command prints."""


@record
class Cost(Record):
    """What a model takes."""

    parameters: Count | None = None
    gflops: Amount | None = None
    """Of a 1280x736 image."""
    megabytes: Amount
    """Of weights or file."""
    milliseconds: Amount
    """An image, here."""


@record
class Measured(PartialScores, Cost):
    """A model before or after a change, measured side by side."""

    images: Count | None = None
    """How many images were scored."""


@record
class ThinnedLayer(Record):
    """Channels of a layer that lost some."""

    layer: str
    before: Count
    after: Count


@record
class PruneResult(Result):
    """Of prune."""

    action: Literal["prune"] = "prune"
    checkpoint: str
    """Model that was pruned."""
    pruned_model: str
    """The file written."""
    ch_sparsity: Unit
    round_to: Count
    p: Count
    thinned_layers: Count
    """Layers that lost channels."""
    before: Measured
    """The model given; both are measured side by side."""
    after: Measured
    """The model written."""
    results: str
    """Path of this file."""
    layers: tuple[ThinnedLayer, ...] | None = None
    """Channels of the layers that lost some; not in what the command prints."""


@record
class QuantizedLayers(Record):
    """What became of the layers with weights."""

    quantized: Count
    left: tuple[str, ...]


@record
class QuantizeResult(Result):
    """Of quantize."""

    action: Literal["quantize"] = "quantize"
    backend: str
    mode: Literal["static_ptq", "weight_only_ptq"]
    algorithm: str
    model_path: str
    """What was quantized."""
    quantized_model: str
    """The file written."""
    layers: QuantizedLayers
    """Layers with weights."""
    before: Measured
    """The model given; both are measured side by side."""
    after: Measured
    """The model written."""
    note: str
    results: str
    """Path of this file."""


Results = TrainResult | EvaluateResult | PruneResult | QuantizeResult | SearchResult
"""What a results.json holds."""


def read_results(path: Path, notes: list[str] | None = None) -> Results:
    """A results.json; raises and notes as `ocdnet.runs.parsing.read`."""
    results: Results = read(Results, path, notes)
    return results


def write_results(folder: Path, results: Results) -> None:
    """Write a folder's results.json; raises as `ocdnet.files.replacing`."""
    write_json(folder / RESULTS, to_json(results))
