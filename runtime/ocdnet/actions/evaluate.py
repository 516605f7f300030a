"""Evaluate: a model's hmean, precision and recall on labelled images, and why they are so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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


def run(loaded: Loaded) -> EvaluateResult:
    """Score a checkpoint, an ONNX file or an engine.

    Args:
        loaded: a spec checked for `evaluate`.

    Returns:
        What results.json holds, without what is long in it.

    Raises:
        UserError: bad data or model, or a model made for other images than the spec's.
    """
    config = loaded.experiment.evaluate
    with session(loaded, writes=(RESULTS, SAMPLES, EXPLAINED), renews=True) as here:
        detector, annotations = on_labelled(loaded)
        postprocess = detector.postprocess
        counts, showcase, images = Counts(), Showcase(), []
        cache = cache_of(detector, loaded)
        examiner = _Examiner(detector, cache, config.reuse_maps)
        with _explanation(here.folder / EXPLAINED, config) as explanation:
            for annotation, seen in examiner.rows(annotations):
                match = seen.of_detections
                counts += match.counts
                images.append(_image_row(annotation, match))
                showcase.add(annotation, seen.detections, match)
                explanation.add(annotation, seen)
        if cache is not None:
            cache.trim()
        here.status.write("RUNNING", "Test metrics generated.", Kpi(**scores(counts)))
        showcase.write(here.folder, counts.hmean)  # first: the result tells what it replaces
        result = EvaluateResult(
            warnings=here.warnings,
            action="evaluate",
            **scores(counts),
            counts=MatchCounts(**_counts(counts)),
            images=len(images),
            checkpoint=detector.model,
            backend=detector.backend,
            resize=detector.resize,
            thresholds=Thresholds(thresh=postprocess.thresh, box_thresh=postprocess.box_thresh),
            results=str(here.folder / RESULTS),
            reused_maps=examiner.reused if config.reuse_maps else None,
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
class _Examiner:
    """Looks at pictures by their maps: the network's, or kept ones where these shall be reused."""

    detector: Detector
    cache: MapCache | None
    reuses: bool
    reused: int = 0

    def rows(self, annotations: Sequence[Annotation]) -> Iterator[tuple[Annotation, Examined]]:
        """Each picture with what was seen, in order; shows progress on stderr."""
        rows = self._rows(annotations)
        yield from tracked(rows, "evaluating", len(annotations))

    def _rows(self, annotations: Sequence[Annotation]) -> Iterator[tuple[Annotation, Examined]]:
        cache = self.cache
        if cache is None or not self.reuses:
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
    return ImageScores(image=str(annotation.image), **scores(match), **_counts(match.counts))
