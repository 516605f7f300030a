"""Sections that train, evaluate and inference have in common: post-processing and metric."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from ocdnet.config.base import STRICT, Fraction, Positive, popular


@dataclass(config=STRICT, kw_only=True)
class PostProcessingArgs:
    """How boxes are read off the probability map."""

    thresh: Annotated[Fraction, popular] = 0.3
    """Probability above which a pixel is text."""

    box_thresh: Annotated[Fraction, popular] = 0.55
    """Mean probability a box must reach to be kept."""

    max_candidates: Annotated[Positive, popular] = 1000
    """Regions of an image that are looked at, at most: the largest."""

    unclip_ratio: Annotated[float, Field(ge=0), popular] = 1.5
    """How far boxes are grown back from the shrunk text region."""


@dataclass(config=STRICT, kw_only=True)
class PostProcessing:
    """Post-processing of the probability map."""

    type: Literal["SegDetectorRepresenter"] = "SegDetectorRepresenter"
    """Name of the post-processor."""

    args: PostProcessingArgs = field(default_factory=PostProcessingArgs)


@dataclass(config=STRICT, kw_only=True)
class MetricArgs:
    """Arguments of the metric."""

    is_output_polygon: Annotated[bool, popular] = False
    """Compare polygons instead of quadrilaterals."""


@dataclass(config=STRICT, kw_only=True)
class Metric:
    """Detection metric: ICDAR2015 precision, recall and hmean."""

    type: Literal["QuadMetric"] = "QuadMetric"
    """Name of the metric."""

    args: MetricArgs = field(default_factory=MetricArgs)
