"""What a run writes: results.json, which its command prints in brief, and the lines of status.json.

schemas/results.schema.json and schemas/status.schema.json are generated from these fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from ocdnet.files import write_json
from ocdnet.runs.files import EPOCH_PATTERN, RESULTS
from ocdnet.runs.metric_names import Metric
from ocdnet.runs.parsing import read
from ocdnet.runs.searches import SearchResult
from ocdnet.runs.typed import (
    Amount,
    Count,
    Pattern,
    Record,
    Result,
    SchemaVersion,
    Unit,
    With,
    to_json,
)

Duration = Annotated[str, Pattern(r"^(\d+ days?, )?\d+:\d\d:\d\d(\.\d+)?$")]
State = Literal["STARTED", "RUNNING", "SUCCESS", "FAILURE"]
TrainAction = Literal["train", "retrain"]
Verbosity = Literal["INFO", "WARNING", "ERROR"]


@dataclass(frozen=True, kw_only=True)
class Scores(Record):
    """How well a model finds text."""

    hmean: Unit
    """Harmonic mean of precision and recall."""
    precision: Unit
    """Share of the detections that are right."""
    recall: Unit
    """Share of the text regions that are found."""


@dataclass(frozen=True, kw_only=True)
class PartialScores(Record):
    """Scores where there may be none: without validation data, or before the first validation."""

    hmean: Unit | None = None
    """Harmonic mean of precision and recall."""
    precision: Unit | None = None
    """Share of the detections that are right."""
    recall: Unit | None = None
    """Share of the text regions that are found."""


@dataclass(frozen=True, kw_only=True)
class Metrics(PartialScores):
    """What judges an epoch."""

    train_loss: float | None = None
    """Mean loss of the epoch just ended."""


@dataclass(frozen=True, kw_only=True)
class Kpi(Metrics):
    """The numbers of a status line."""

    shrink_loss: float | None = None
    """Its cross-entropy, not weighted."""
    threshold_loss: float | None = None
    """Its L1, not weighted."""
    binary_loss: float | None = None
    """Its dice loss, not weighted."""
    lr: Amount | None = None
    """Learning rate of its last step."""
    max_difference: Amount | None = None
    """Largest difference of a probability between the file written and its source."""
    mean_difference: Amount | None = None
    """Mean of these differences."""


@dataclass(frozen=True, kw_only=True)
class StatusLine(Record):
    """One line of status.json."""

    schema_version: SchemaVersion = 1
    date: Annotated[str, Pattern(r"^\d\d/\d\d/\d{4}$")] = ""
    time: Annotated[str, Pattern(r"^\d\d:\d\d:\d\d$")] = ""
    status: State
    verbosity: Verbosity = "INFO"
    message: str = ""
    """One sentence for people."""
    kpi: Kpi | None = None
    """Numbers measured just now."""
    epoch: (
        Annotated[
            Count,
            With(("step", "max_epoch", "max_step", "time_per_epoch", "time_per_step", "eta")),
        ]
        | None
    ) = None
    """Epoch just ended, counted from 0."""
    step: Count | None = None
    """Optimiser steps so far."""
    max_epoch: Count | None = None
    """num_epochs - 1."""
    max_step: Count | None = None
    time_per_epoch: Duration | None = None
    time_per_step: Duration | None = None
    eta: Duration | None = None
    """Time left, at the pace of the last epoch."""
    trial: Count | None = None
    """Trial of a search just ended, from 0."""
    trials: Count | None = None
    """Trials of the search in all."""


@dataclass(frozen=True, kw_only=True)
class BestMetric(Record):
    """A metric and its value."""

    name: Metric
    value: float | None


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
class MatchCounts(Record):
    """What scores are made of."""

    matched: Count
    """Detections that match a text region."""
    gt_care: Count
    """Text regions that count."""
    det_care: Count
    """Detections that count."""


@dataclass(frozen=True, kw_only=True)
class Thresholds(Record):
    """Of the post-processing."""

    thresh: Unit
    box_thresh: Unit


@dataclass(frozen=True, kw_only=True)
class ImageName(Record):
    """Which image."""

    image: str


@dataclass(frozen=True, kw_only=True)
class ImageScores(MatchCounts, Scores, ImageName):
    """Of one image."""


@dataclass(frozen=True, kw_only=True)
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
    thresholds: Thresholds
    """Thresholds of the post-processing."""
    results: str
    """Path of this file."""
    per_image: tuple[ImageScores, ...] | None = None
    """The same of each image; not in what the command prints."""


@dataclass(frozen=True, kw_only=True)
class Cost(Record):
    """What a model takes."""

    parameters: Count | None = None
    gflops: Amount | None = None
    """Of a 1280x736 image."""
    megabytes: Amount
    """Of weights or file."""
    milliseconds: Amount
    """An image, here."""


@dataclass(frozen=True, kw_only=True)
class Measured(PartialScores, Cost):
    """A model before or after a change, measured side by side."""

    images: Count | None = None
    """How many images were scored."""


@dataclass(frozen=True, kw_only=True)
class ThinnedLayer(Record):
    """Channels of a layer that lost some."""

    layer: str
    before: Count
    after: Count


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
class QuantizedLayers(Record):
    """What became of the layers with weights."""

    quantized: Count
    left: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
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
