"""Public weights that have a name here: facts alone; nothing is imported or fetched for them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ocdnet.errors import DataError
from ocdnet.key_maps import IMAGENET, Input
from ocdnet.spec_keys import PRETRAINED
from ocdnet.tree.keys import nearest
from ocdnet.tree.problems import SpecFieldError

Threshold = Literal["thresh", "box_thresh", "unclip_ratio"]
THRESHOLDS: tuple[Threshold, ...] = ("thresh", "box_thresh", "unclip_ratio")
"""Names of what a model suggests for reading its maps."""
_MOST: dict[Threshold, float] = {"thresh": 1, "box_thresh": 1, "unclip_ratio": 100}
_PREFIX = "ocdnet.suggested."
_MMOCR = "https://download.openmmlab.com/mmocr/textdet/dbnet/"


@dataclass(frozen=True, kw_only=True)
class Published:
    """A detector's scores as its trainers publish them, and how they were reached.

    Attributes:
        test_set: what was scored.
        precision: of 0..1.
        recall: of 0..1.
        hmean: of 0..1.
    """

    test_set: str
    precision: float
    recall: float
    hmean: float


@dataclass(frozen=True, kw_only=True)
class Suggested:
    """What a detector's trainers tested it with, in our terms.

    Attributes:
        size: (width, height) of the input, for `resize`: multiples of 32.
        resize: the aspect is kept, and portraits turn the size.
        thresh: probability from which a pixel is text.
        box_thresh: mean probability from which a region is kept.
        unclip_ratio: how far regions grow.
    """

    size: tuple[int, int]
    resize: Literal["auto"] = "auto"
    thresh: float = 0.3
    box_thresh: float = 0.3
    unclip_ratio: float = 1.5

    @property
    def thresholds(self) -> dict[Threshold, float]:
        """By name."""
        return {name: getattr(self, name) for name in THRESHOLDS}

    def to_metadata(self) -> dict[str, str]:
        """The thresholds as strings, for ONNX `metadata_props`."""
        return {f"{_PREFIX}{name}": str(value) for name, value in self.thresholds.items()}

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, str], size: tuple[int, int]) -> Suggested | None:
        """The inverse of `to_metadata`; None where a threshold is missing, or cannot be.

        Args:
            metadata: of a file.
            size: of its input.
        """
        try:
            numbers = {name: float(metadata[f"{_PREFIX}{name}"]) for name in THRESHOLDS}
        except (KeyError, ValueError):
            return None
        possible = all(0 <= number <= _MOST[name] for name, number in numbers.items())
        given: dict[Any, Any] = numbers
        return cls(size=size, **given) if possible else None


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A file of public weights.

    Attributes:
        name: ours.
        kind: a whole detector, or a backbone to start a training from.
        backbone: `model.backbone` that takes it; a deformable one takes a plain one's as a start.
        trained_on: data sets, in their order.
        licence: of the weights, by its SPDX name.
        source: page of the project that publishes it.
        input: order and normalisation of its pixels; None: as TAO has them.
        url: where the file is; empty: it is ours, or torchvision knows.
        torchvision: name of torchvision's entry for it.
        packaged: name of the file that this package brings along.
        published: its scores.
        suggested: how to run it.
    """

    name: str
    kind: Literal["detector", "backbone"]
    backbone: str
    trained_on: tuple[str, ...]
    licence: str
    source: str
    input: Input | None = IMAGENET
    url: str = ""
    torchvision: str = ""
    packaged: str = ""
    published: Published | None = None
    suggested: Suggested | None = None


_SMALL = Suggested(size=(1344, 736))
"""Short side 736, long side at most 1333, rounded up."""
_LARGE = Suggested(size=(4064, 1024))
"""Short side 1024, long side at most 4068, rounded down."""


def _detector(
    name: str,
    backbone: str,
    file: str,
    trained_on: tuple[str, ...],
    suggested: Suggested = _SMALL,
    scores: tuple[float, float, float] | None = None,
) -> Weights:
    """A DBNet of mmocr; `scores` are precision, recall and hmean on the last of `trained_on`."""
    published = None
    if scores:
        precision, recall, hmean = scores
        published = Published(
            test_set=trained_on[-1], precision=precision, recall=recall, hmean=hmean
        )
    return Weights(
        name=name,
        kind="detector",
        backbone=backbone,
        trained_on=trained_on,
        licence="Apache-2.0",
        source="https://github.com/open-mmlab/mmocr/tree/main/configs/textdet/dbnet",
        url=_MMOCR + file,
        published=published,
        suggested=suggested,
    )


def _backbone(backbone: str, model: str) -> Weights:
    return Weights(
        name=f"imagenet-{backbone.replace('_', '-')}",
        kind="backbone",
        backbone=backbone,
        trained_on=("ImageNet",),
        licence="BSD-3-Clause",
        source="https://github.com/pytorch/vision",
        torchvision=f"{model}_Weights.IMAGENET1K_V1",
    )


STARTER = Weights(
    name="ocdnet-starter-small",
    kind="detector",
    backbone="mobilenet_v3_large",
    trained_on=("rendered scenes (ocdnet data synth)",),
    licence="Apache-2.0",
    source="references/starter.md",
    input=None,
    packaged="ocdnet-starter-small.onnx",
    suggested=Suggested(size=(1664, 960), box_thresh=0.55),
)
"""The network that is taken where none is named: `model.preset: small`."""

WEIGHTS = (
    STARTER,
    _detector(
        "dbnet-r18-icdar2015",
        "resnet18",
        "dbnet_resnet18_fpnc_1200e_icdar2015/"
        "dbnet_resnet18_fpnc_1200e_icdar2015_20220825_221614-7c0e94f2.pth",
        ("ICDAR2015",),
        scores=(0.8853, 0.7583, 0.8169),
    ),
    _detector(
        "dbnet-r50-icdar2015",
        "resnet50",
        "dbnet_resnet50_1200e_icdar2015/"
        "dbnet_resnet50_1200e_icdar2015_20221102_115917-54f50589.pth",
        ("ICDAR2015",),
        _LARGE,
        scores=(0.8744, 0.8276, 0.8504),
    ),
    _detector(
        "dbnet-r50dcn-icdar2015",
        "deformable_resnet50",
        "dbnet_resnet50-dcnv2_fpnc_1200e_icdar2015/"
        "dbnet_resnet50-dcnv2_fpnc_1200e_icdar2015_20220828_124917-452c443c.pth",
        ("SynthText", "ICDAR2015"),
        _LARGE,
        scores=(0.8784, 0.8315, 0.8543),
    ),
    _detector(
        "dbnet-r18-totaltext",
        "resnet18",
        "dbnet_resnet18_fpnc_1200e_totaltext/dbnet_resnet18_fpnc_1200e_totaltext-3ed3233c.pth",
        ("Total-Text",),
        scores=(0.8640, 0.7770, 0.8182),
    ),
    _detector(
        "dbnet-r18-synthtext",
        "resnet18",
        "dbnet_resnet18_fpnc_100k_synthtext/dbnet_resnet18_fpnc_100k_synthtext-2e9bf392.pth",
        ("SynthText",),
    ),
    _backbone("resnet18", "ResNet18"),
    _backbone("resnet34", "ResNet34"),
    _backbone("resnet50", "ResNet50"),
    _backbone("resnet101", "ResNet101"),
    _backbone("resnet152", "ResNet152"),
    _backbone("mobilenet_v2", "MobileNet_V2"),
    _backbone("mobilenet_v3_large", "MobileNet_V3_Large"),
)
"""All of them, detectors first."""

_BY_NAME = {weights.name: weights for weights in WEIGHTS}


def find(value: str) -> Weights | None:
    """The weights that a spec or a user means; None where it is a path: a file goes before a name.

    Args:
        value: a name, or a path.
    """
    weights = _BY_NAME.get(value)
    return None if weights is None or os.path.exists(value) else weights  # noqa: PTH110


def named(name: str) -> Weights:
    """The weights of a name, whatever files there are.

    Raises:
        DataError: there are none.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    near = nearest(name, _BY_NAME)
    raise DataError(
        "unknown-weights",
        "There are no weights of this name",
        got=name,
        expected=f"one of {', '.join(_BY_NAME)}",
        hint=f"Did you mean {near!r}?" if near else "`ocdnet weights list` says what each is.",
    )


def is_unknown(value: str) -> bool:
    """Whether it looks like a name (no separator, no suffix), but is none, nor a file."""
    plain = value and not any(mark in value for mark in "/\\.")
    return bool(plain) and value not in _BY_NAME and not os.path.exists(value)  # noqa: PTH110


def unknown_weights(value: str) -> SpecFieldError:
    """The problem of a spec with a name that is none, nor a file."""
    return SpecFieldError(
        "unknown-weights",
        PRETRAINED,
        f"{PRETRAINED!r} is no file, and no name of weights",
        did_you_mean=nearest(value, _BY_NAME),
        got=value,
        expected=f"a path, or one of {', '.join(_BY_NAME)}",
    )


def hash_prefix(url: str) -> str:
    """First hexadecimal digits of a file's SHA-256, which stand before the suffix of its URL."""
    return url.rpartition("-")[2].partition(".")[0]


def of_digest(sha256: str) -> Weights | None:
    """The detector whose file has this SHA-256, whatever the file is called."""
    for weights in WEIGHTS:
        if weights.url and sha256.startswith(hash_prefix(weights.url)):
            return weights
    return None
