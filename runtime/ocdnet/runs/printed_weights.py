"""What the `ocdnet weights` commands print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ocdnet.runs.records import Scores, StartingWeights
from ocdnet.runs.typed import Count, Record, SchemaVersion, record


@record
class PublishedScores(Scores):
    """As the trainers of weights publish them; not measured here."""

    test_set: str


@record
class ListedWeights(Record):
    """Public weights that have a name."""

    name: str
    kind: Literal["detector", "backbone"]
    """A whole detector, or a backbone to start a training from."""
    backbone: str
    """`model.backbone` that takes it."""
    trained_on: tuple[str, ...]
    published: PublishedScores | None = None
    licence: str
    source: str
    """Page of the project that publishes it."""


@record
class WeightsList(Record):
    """Of `ocdnet weights list`."""

    schema_version: SchemaVersion = 1
    cache: str
    """Folder of fetched files."""
    weights: tuple[ListedWeights, ...]


@record
class FetchedWeights(Record):
    """Of `ocdnet weights fetch`."""

    schema_version: SchemaVersion = 1
    name: str
    file: str
    sha256: str
    backbone: str
    licence: str
    source: str


@record
class InputInfo(Record):
    """How a network's input is made: `(pixel - mean) / divisor`."""

    img_mode: str | None = None
    """Absent where the file does not say."""
    mean: tuple[float, ...]
    divisor: tuple[float, ...]
    size: tuple[int, int] | None = None
    """(width, height) of the only size that it takes."""
    min_size: tuple[int, int] | None = None
    max_size: tuple[int, int] | None = None


@record
class ModelInfo(Record):
    """Of `ocdnet weights info`: what a model's file says of itself."""

    schema_version: SchemaVersion = 1
    file: str
    kind: Literal["checkpoint", "onnx", "engine"]
    source: str
    """What seems to have written it."""
    name: str | None = None
    """Of public weights, as in `ocdnet weights list`."""
    sha256: str
    bytes: Count
    backbone: str | None = None
    inner_channels: Count | None = None
    """Of a checkpoint with an FPN: its width, `model.inner_channels`."""
    neck_block: str | None = None
    """Likewise: `model.neck_block`."""
    input: InputInfo
    tensors: Count | None = None
    """Weights and statistics that the file holds; of an engine not known."""
    parameters: Count | None = None
    """Numbers in its trainable weights; of an ONNX file in all of them."""
    resumable: bool | None = None
    """Of a checkpoint: whether a training can go on from it."""
    pruned: bool | None = None
    """Whether its network may have lost channels."""
    int8_layers: Count | None = None
    start: StartingWeights | None = None
    """From which weights its training started."""
    spec: Mapping[str, Any] | None = None
    """Main settings of its training, by dotted key."""
    precision: str | None = None
    """Of an engine."""
    batch: tuple[int, int, int] | None = None
    """Of an engine, or an ONNX file that fixes it: least, best and most images."""
    made_from: Mapping[str, str] | None = None
    """Name and digest of the file that it was made from."""
