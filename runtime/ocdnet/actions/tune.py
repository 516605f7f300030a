"""Tune: the post-processing that suits a model and pictures, from maps that are made once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ocdnet.actions.choosing import choose
from ocdnet.actions.detection import on_labelled
from ocdnet.actions.kept_maps import cache_of, keep
from ocdnet.actions.session import remedied
from ocdnet.config.spec import Loaded
from ocdnet.data.annotations import Annotation
from ocdnet.data.reading import pixel_limit
from ocdnet.detector import Detector
from ocdnet.errors import DataError, RunError
from ocdnet.findings import Findings, note
from ocdnet.hardware import cpus
from ocdnet.map_cache import Kept, MapCache, digest_of
from ocdnet.metrics import Counts, Overlaps, match_image
from ocdnet.postprocess import DBPostprocessor
from ocdnet.progress_bar import tracked
from ocdnet.runs.printed import MapsUsed, Rounding, TuneResult
from ocdnet.runs.typed import warned
from ocdnet.spec_keys import VALIDATE_DATA
from ocdnet.sweep import Setting, grid, nine, swept

MOST_IMAGES = 2000
"""More do not change the choice."""


@dataclass(frozen=True)
class _Row:
    """One picture: its half, what each setting counts, and what rounding changes."""

    second: bool
    counts: NDArray[np.int64]
    of_floats: Counts
    of_levels: Counts


def run(loaded: Loaded, findings: Findings) -> TuneResult:
    """Try many settings of the post-processing on the validation pictures.

    The network computes only what the cache does not hold; nothing is written but that.

    Args:
        loaded: a spec checked for `evaluate`.
        findings: what is collected while it runs.

    Raises:
        UserError: bad data or model.
    """
    with remedied(loaded.action), pixel_limit(loaded.experiment.max_megapixels):
        detector, annotations = on_labelled(loaded)
        spec = Setting.of(detector.postprocess)
        settings = sorted({*grid(spec), *nine(spec)})
        with _cache(detector, loaded) as (cache, lasting):
            pictures = _pictures(cache, annotations)
            missing = [one.annotation for one in pictures if not cache.has(one.key)]
            _compute(detector, cache, missing)
            most = detector.postprocess.max_candidates
            rows = list(_rows(cache, pictures, settings, most))
            folder = str(cache.folder) if lasting else None
    if not rows:
        raise RunError("no-maps", "No map could be kept", hint="Is the disk full?")
    counted = [(row.second, row.of_floats.gt_care, row.counts) for row in rows]
    choice = choose(settings, grid(spec), spec, counted)
    choice.note_doubts()
    return TuneResult(
        checkpoint=detector.model,
        backend=detector.backend,
        images=len(rows),
        texts=sum(row.of_floats.gt_care for row in rows),
        settings_tried=len(grid(spec)),
        rounding=_rounding(rows),
        maps=MapsUsed(kept=len(pictures) - len(missing), computed=len(missing), folder=folder),
        overrides=tuple(overrides(choice.best)),
        spec_file=None,
        **choice.records(),
        warnings=tuple(map(warned, findings.rows())),
    )


def overrides(best: Setting | None) -> Iterator[str]:
    """The `key=value` that evaluate and inference take for a setting; none of None."""
    if best is None:
        return
    for section in ("evaluate", "inference"):
        args = f"{section}.post_processing.args"
        yield f"{args}.thresh={best.thresh!r}"
        yield f"{args}.box_thresh={best.box_thresh!r}"
        yield f"{args}.unclip_ratio={best.unclip_ratio!r}"
    shape = str(best.polygon).lower()
    yield f"evaluate.metric.args.is_output_polygon={shape}"
    yield f"inference.polygon={shape}"


@contextmanager
def _cache(detector: Detector, loaded: Loaded) -> Iterator[tuple[MapCache, bool]]:
    """The user's cache; where it can't be used, one for this run. Also whether it lasts."""
    lasting = cache_of(detector, loaded)
    if lasting is not None and lasting.usable():
        try:
            yield lasting, True
        finally:
            lasting.trim()
        return
    with tempfile.TemporaryDirectory(prefix="ocdnet-maps-") as folder:
        yield MapCache(Path(folder), ""), False


@dataclass(frozen=True)
class _Picture:
    """A labelled picture, its map's name in the cache, and the half that it is in."""

    annotation: Annotation
    key: str
    second: bool


def _pictures(cache: MapCache, annotations: Sequence[Annotation]) -> list[_Picture]:
    """The pictures in an order that their contents alone decide; not too many.

    The halves are as large as each other, and the same for every model; copies are in one half.
    """
    with ThreadPoolExecutor(cpus()) as pool:
        digests = list(pool.map(_digest, [one.image for one in annotations]))
    order = sorted(range(len(digests)), key=lambda at: (digests[at], at))
    if len(order) > MOST_IMAGES:
        note(
            "sample",
            f"Settings are tried on {MOST_IMAGES} of the pictures; more do not change the choice",
            key=VALIDATE_DATA,
            count=len(order),
        )
    rank = {digest: at for at, digest in enumerate(sorted(set(digests)))}
    return [
        _Picture(annotations[at], cache.key(digests[at]), rank[digests[at]] % 2 == 1)
        for at in order[:MOST_IMAGES]
    ]


def _digest(picture: Path) -> bytes:
    try:
        return digest_of(picture)
    except OSError as error:
        raise DataError(
            "unreadable-image", f"Cannot read {picture}: {error.strerror}", got=str(picture)
        ) from error


def _compute(detector: Detector, cache: MapCache, missing: Sequence[Annotation]) -> None:
    if not missing:
        return
    rows = detector.map(
        missing,
        lambda annotation: annotation.image,
        lambda annotation, page: keep(cache, annotation.image, page, detector.postprocess),
    )
    for _ in tracked(rows, "computing maps", len(missing)):
        pass


def _rows(
    cache: MapCache,
    pictures: Sequence[_Picture],
    settings: Sequence[Setting],
    max_candidates: int,
) -> Iterator[_Row]:
    def row(picture: _Picture) -> _Row | None:
        kept = cache.get(picture.key)
        return None if kept is None else _swept(kept, picture, settings, max_candidates)

    with ThreadPoolExecutor(cpus()) as pool:
        for done in tracked(pool.map(row, pictures), "trying settings", len(pictures)):
            if done is not None:
                yield done
            else:
                note("map-lost", "A map could not be kept, so its picture was left out")


def _swept(kept: Kept, picture: _Picture, settings: Sequence[Setting], max_candidates: int) -> _Row:
    texts, ignore = picture.annotation.polygons, picture.annotation.ignore
    counts = swept(kept.probability, kept.frame, texts, ignore, settings, max_candidates)
    again, enough = DBPostprocessor(*kept.settings).regions(kept.probability, kept.frame)
    return _Row(
        picture.second,
        counts,
        match_image(kept.polygons, texts, ignore).counts,
        Overlaps.of(again.polygons, texts, ignore).match(enough).counts,
    )


def _rounding(rows: Sequence[_Row]) -> Rounding:
    floats = sum((row.of_floats for row in rows), Counts()).hmean
    levels = sum((row.of_levels for row in rows), Counts()).hmean
    return Rounding(hmean=floats, difference=round(levels - floats, 6))
