"""What commands print that write no results.json, and how a command says that it failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ocdnet.errors import DataError, Exit, UserError
from ocdnet.runs.parsing import loads, parse
from ocdnet.runs.records import Scores
from ocdnet.runs.typed import Amount, Count, Record, Result, Unit, record


@record
class Timing(Record):
    """How long a training takes, by a few of its steps."""

    step_seconds: Amount
    steps_per_epoch: Count
    validation_seconds: Amount
    epoch_seconds: Amount
    """Training and validation."""
    run_seconds: Amount
    """Of the training to its end."""


@record
class DryRunResult(Result):
    """Of a dry run of train or retrain, which writes no results.json."""

    action: Literal["train", "retrain"]
    dry_run: Literal[True] = True
    results_dir: str
    timing: Timing


@record
class PageFileNames(Record):
    """Where the text of pictures was written, as far as it was asked for."""

    json: str | None = None
    """A line a picture: schemas/page.schema.json."""
    coco: str | None = None
    """The same as a data set in COCO's form."""
    crops: str | None = None
    """Folder of the regions' crops."""
    overlays: str | None = None
    """Pattern of the pictures with what was found."""
    heatmaps: str | None = None
    """Pattern of the pictures with the network's map."""


@record
class InferenceResult(PageFileNames, Result):
    """Of inference, with a checkpoint or an engine."""

    action: Literal["inference"] = "inference"
    images: Count
    boxes: Count
    skipped: tuple[str, ...]
    """The first of the images that were left out."""
    skipped_images: Count
    checkpoint: str
    backend: str
    resize: str | None = None
    """How images came to the network's size."""
    results_dir: str


@record
class MergeResult(PageFileNames, Result):
    """Of merge, which puts the parts of an inference together."""

    action: Literal["merge"] = "merge"
    images: Count
    boxes: Count
    skipped: tuple[str, ...]
    """The first of the images that were left out."""
    skipped_images: Count
    shards: Count
    """Number of parts."""
    results_dir: str


@record
class Tensor(Record):
    """An input or output of a network: its name, and its shape with names for what varies."""

    name: str
    shape: tuple[int | str, ...]


@record
class ExportResult(Result):
    """Of export."""

    action: Literal["export"] = "export"
    onnx_file: str
    input: Tensor
    output: Tensor
    opset: Count
    img_mode: str
    max_difference: Amount
    """Largest difference of a probability from torch."""


@record
class BatchRange(Record):
    """Images a batch."""

    min: Count
    opt: Count
    max: Count


@record
class EngineResult(Result):
    """Of gen_trt_engine."""

    action: Literal["gen_trt_engine"] = "gen_trt_engine"
    trt_engine: str
    sidecar: str
    backend: str
    why: str
    note: str
    precision: Literal["FP32", "FP16", "INT8"]
    input: Tensor
    batch: BatchRange
    without_effect: tuple[str, ...]
    cal_cache_file: str | None = None
    calibration_images: Count | None = None
    calibration_reused: bool | None = None
    layers_quantized: Count | None = None
    layers_left: tuple[str, ...] | None = None
    layers_fp32: Count | None = None
    max_difference: Amount
    mean_difference: Amount


@record
class SettingScores(Scores):
    """Settings of the post-processing, and what they score."""

    thresh: Unit
    box_thresh: Unit
    unclip_ratio: Amount
    polygon: bool
    """Outlines instead of quadrilaterals."""


@record
class HalfTuned(Record):
    """One half of the pictures, which a digest of their content decides."""

    images: Count
    chosen: SettingScores
    """Its own best, with the scores on this half."""
    other_hmean: Unit
    """What that scores on the other half."""


@record
class CrossValidated(Scores):
    """All pictures, each with the settings that the other half chose: what to expect of others."""

    gain: float
    """Of hmean over the spec's settings."""
    low: float
    """Between this and `high` the gain lies in 95 of 100 cases (bootstrap over pictures)."""
    high: float


@record
class BestOfNine(Scores):
    """What TAO's evaluation reports: at nine thresholds, all else as in the spec, the best."""

    thresh: Unit


@record
class Rounding(Record):
    """What maps of 8 bits change, at the settings of the pass that made them."""

    hmean: Unit
    """Of the maps as the network returned them."""
    difference: float
    """Of the hmean of the rounded maps."""


@record
class MapsUsed(Record):
    """Where the maps came from."""

    kept: Count
    """Found in the cache."""
    computed: Count
    """Made by the network now."""
    folder: str | None
    """The cache; null: none was used."""


@record
class Tried(Record):
    """One setting varied, the others as in `best`."""

    values: tuple[float, ...]
    hmean: tuple[Unit, ...]


@record
class OneByOne(Record):
    """How much each setting matters."""

    thresh: Tried
    box_thresh: Tried
    unclip_ratio: Tried


@record
class TuneResult(Result):
    """Of tune: the post-processing that suits a model and pictures."""

    action: Literal["tune"] = "tune"
    checkpoint: str
    backend: str
    images: Count
    texts: Count
    """Those that count."""
    settings_tried: Count
    spec: SettingScores
    """What the spec says."""
    best: SettingScores | None
    """The best on all pictures, which flatters; null: nothing is found with any setting."""
    cross_validated: CrossValidated | None
    halves: tuple[HalfTuned, ...]
    tao_best_of_nine: BestOfNine | None
    """For comparison with figures of TAO; null where that is 0."""
    rounding: Rounding
    one_by_one: OneByOne | None
    maps: MapsUsed
    overrides: tuple[str, ...]
    """For `ocdnet evaluate` and `ocdnet inference`."""
    spec_file: str | None
    """The spec with these, where one was asked for."""


@record
class ServeResult(Result):
    """Of serve, when it has ended."""

    action: Literal["serve"] = "serve"
    model: str
    url: str
    seconds: Amount
    """From the start to the end."""
    requests: Mapping[str, Count]
    """To /detect, by HTTP status."""
    pictures: Count
    """That went through the network."""


@record
class ViewResult(Result):
    """Of view, when it has ended."""

    action: Literal["view"] = "view"
    path: str
    url: str
    seconds: Amount
    """From the start to the end."""
    pictures: Count
    """That there are."""
    shown: Count
    """How often one was sent to the page."""


@record
class Problem(Record):
    """What a UserError says."""

    code: str
    message: str
    got: Any = None
    expected: Any = None
    hint: str | None = None


@record
class Failure(Record):
    """What a command prints that failed."""

    error: Problem


def failure(printed: bytes | str, exit_code: int) -> UserError | None:
    """The error that a command printed as it failed; None where it printed none."""
    try:
        problem: Problem = parse(Failure, loads(printed), "what the command printed").error
    except (ValueError, DataError):
        return None
    error = UserError(problem.code, problem.message, problem.got, problem.expected, problem.hint)
    error.exit_code = kind_of(exit_code)
    return error


def kind_of(exit_code: int) -> Exit:
    """What an exit code of our command means; of one that is none of ours, a failed run."""
    return Exit(exit_code) if exit_code in set(Exit) else Exit.RUN
