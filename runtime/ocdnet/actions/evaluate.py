"""Evaluate: a model's hmean, precision and recall on labelled images, and why they are so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ocdnet.actions.detection import on_labelled
from ocdnet.actions.explaining import Examined, Explanation, examined
from ocdnet.actions.kept_maps import cache_of, keep
from ocdnet.actions.scoring import scores
from ocdnet.actions.session import session
from ocdnet.average_precision import AveragePrecision
from ocdnet.config.evaluate import EvaluateConfig
from ocdnet.config.spec import Loaded
from ocdnet.data.annotations import Annotation
from ocdnet.detector import Detector
from ocdnet.files import replacing
from ocdnet.map_cache import MapCache, digest_of
from ocdnet.metrics import Counts, ImageMatch
from ocdnet.page import Page
from ocdnet.progress_bar import tracked
from ocdnet.runs.files import EXPLAINED, RESULTS, SAMPLES
from ocdnet.runs.records import EvaluateResult, ImageScores, MatchCounts, Thresholds, write_results
from ocdnet.runs.samples import Showcase
from ocdnet.runs.status_line import Kpi


@dataclass(frozen=True)
class Used:
    """What looked at the pictures.

    Attributes:
        backend: what ran the network.
        resize: how pictures came to its size.
        thresholds: of the post-processing.
    """

    backend: str
    resize: str
    thresholds: Thresholds

    @classmethod
    def of(cls, detector: Detector) -> Used:
        """A detector's."""
        post = detector.postprocess
        thresholds = Thresholds(thresh=post.thresh, box_thresh=post.box_thresh)
        return cls(detector.backend, detector.resize, thresholds)


class Examiner(Protocol):
    """Looks at the pictures of an evaluation.

    Attributes:
        reused: of how many the map was kept from an earlier run; None: no map is reused.
    """

    reused: int | None

    def rows(self) -> Iterator[tuple[Annotation, Examined]]:
        """Each picture with what was seen, in order; shows progress on stderr."""

    def used(self) -> Used:
        """What looked; asked for behind the last row."""


def run(loaded: Loaded, examiner_of: Callable[[Loaded], Examiner] | None = None) -> EvaluateResult:
    """Score a checkpoint, an ONNX file or an engine.

    Args:
        loaded: a spec checked for `evaluate`.
        examiner_of: what looks at the pictures; None: the model, in this process.

    Returns:
        What results.json holds, without what is long in it.

    Raises:
        UserError: bad data or model, or a model made for other images than the spec's.
    """
    config = loaded.experiment.evaluate
    with session(loaded, writes=(RESULTS, SAMPLES, EXPLAINED), renews=True) as here:
        examiner = (examiner_of or _Here.of)(loaded)
        counts, showcase, images = Counts(), Showcase(), []
        with _explanation(here.folder / EXPLAINED, config) as explanation:
            for annotation, seen in examiner.rows():
                match = seen.of_detections
                counts += match.counts
                images.append(_image_row(annotation, match))
                showcase.add(annotation, seen.detections, match)
                explanation.add(annotation, seen)
        here.status.write("RUNNING", "Test metrics generated.", Kpi(**scores(counts)))
        showcase.write(here.folder, counts.hmean)  # first: the result tells what it replaces
        used = examiner.used()
        result = EvaluateResult(
            warnings=here.warnings,
            action="evaluate",
            **scores(counts),
            counts=MatchCounts(**_counts(counts)),
            images=len(images),
            checkpoint=str(Path(config.trt_engine or config.checkpoint)),
            backend=used.backend,
            resize=used.resize,
            thresholds=used.thresholds,
            results=str(here.folder / RESULTS),
            reused_maps=examiner.reused,
            explained=str(here.folder / EXPLAINED),
            per_image=tuple(images),
            **explanation.records(),
        )
        write_results(here.folder, result)
        return replace(result, per_image=None, curve=None, box_scores=None)


@contextmanager
def _explanation(path: Path, config: EvaluateConfig) -> Iterator[Explanation]:
    coco = AveragePrecision() if config.coco_ap else None
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as lines:
        yield Explanation(lines, coco)


@dataclass
class _Here:
    """Looks at pictures by their maps: the network's, or kept ones where these shall be reused."""

    detector: Detector
    annotations: Sequence[Annotation]
    cache: MapCache | None
    reused: int | None

    @classmethod
    def of(cls, loaded: Loaded) -> _Here:
        """As a spec says."""
        detector, annotations = on_labelled(loaded)
        reused = 0 if loaded.experiment.evaluate.reuse_maps else None
        return cls(detector, annotations, cache_of(detector, loaded), reused)

    def used(self) -> Used:
        """The detector."""
        return Used.of(self.detector)

    def rows(self) -> Iterator[tuple[Annotation, Examined]]:
        """Each picture with what was seen, in order; shows progress on stderr."""
        yield from tracked(self._rows(), "evaluating", len(self.annotations))
        if self.cache is not None:
            self.cache.trim()

    def _rows(self) -> Iterator[tuple[Annotation, Examined]]:
        cache, annotations = self.cache, self.annotations
        if cache is None or self.reused is None:
            yield from self._computed(annotations)
            return
        keys = [cache.key(digest_of(one.image)) for one in annotations]
        there = [cache.has(key) for key in keys]
        rest = [one for one, is_there in zip(annotations, there, strict=True) if not is_there]
        computed = self._computed(rest)
        for annotation, key, is_there in zip(annotations, keys, there, strict=True):
            kept = cache.get(key) if is_there else None
            if kept is not None:
                self.reused += 1
                seen = examined(annotation, kept.probability, kept.frame, self.detector.postprocess)
                yield annotation, seen
            else:
                yield from self._computed([annotation]) if is_there else [next(computed)]

    def _computed(self, annotations: Sequence[Annotation]) -> Iterator[tuple[Annotation, Examined]]:
        return self.detector.map(annotations, lambda one: one.image, self._finish)

    def _finish(self, annotation: Annotation, page: Page) -> Examined:
        probability, frame = page.held_map()
        if self.cache is not None:
            keep(self.cache, annotation.image, page, self.detector.postprocess)
        return examined(annotation, probability, frame, self.detector.postprocess)


def _counts(counts: Counts) -> dict[str, Any]:
    return {"matched": counts.matched, "gt_care": counts.gt_care, "det_care": counts.det_care}


def _image_row(annotation: Annotation, match: ImageMatch) -> ImageScores:
    return ImageScores(image=annotation.name, **scores(match), **_counts(match.counts))
