"""What `ocdnet optimize` prints, and writes beside its engines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ocdnet.runs.printed import Problem
from ocdnet.runs.typed import Amount, Count, Record, Result, Unit, record

Backend = Literal["torch", "onnxruntime", "openvino", "tensorrt"]
Precision = Literal["FP32", "FP16", "INT8"]


@record
class Speed(Record):
    """From pictures to boxes, one picture at a time; reading the picture is part of it."""

    median_ms: Amount
    p95_ms: Amount
    images_per_second: Amount
    """Of a stream, in which the next pictures are read while the network computes."""
    memory_mb: Amount | None = None
    """The most that its process held; a GPU's own memory is not in it."""


@record
class Candidate(Record):
    """One way to run the model here."""

    name: str
    backend: Backend
    precision: Precision | None = None
    """None: as the model given is, or of a runtime that is not here."""
    file: str | None = None
    threads: Count | None = None
    """That gave the most images a second."""
    tried: Mapping[str, Amount] | None = None
    """Images a second by number of threads, of a short trial."""
    speed: Speed | None = None
    agreement: Unit | None = None
    """hmean of its regions against those of the model given, at IoU .5."""
    hmean: Unit | None = None
    """Against the labels, where there are any."""
    failed: Problem | None = None
    """Why it has no figures."""


@record
class Choice(Record):
    """The candidate to use, and how."""

    name: str
    rule: str
    """By which it was chosen."""
    file: str
    python: str
    command: str


@record
class OptimizeResult(Result):
    """Of `ocdnet optimize`."""

    action: Literal["optimize"] = "optimize"
    model: str
    size: tuple[int, int]
    """Width and height of the network's input."""
    resize: str
    images: Count
    """Timed and compared."""
    calibration_images: Count
    labelled: bool
    rounds: Count
    """In which the candidates were timed in turns; each took a third of the images."""
    seconds: Amount
    candidates: tuple[Candidate, ...]
    recommended: Choice
    results: str
    """This document's own file."""
