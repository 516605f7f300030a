"""The cache of a detector's maps: evaluate fills it, tune reads it."""

from __future__ import annotations

import json
from pathlib import Path

from ocdnet.backends.sidecar import beside
from ocdnet.config.spec import Loaded
from ocdnet.detector import Detector
from ocdnet.files import sha256
from ocdnet.map_cache import Kept, MapCache, default_folder, digest_of
from ocdnet.page import Page
from ocdnet.postprocess import DBPostprocessor
from ocdnet.version import VERSION


def cache_of(detector: Detector, loaded: Loaded) -> MapCache | None:
    """The cache of the maps that a detector makes; None where maps are not to be kept."""
    folder, identity = default_folder(), detector.identity
    if folder is None or identity is None:
        return None
    model, path = loaded.experiment.model, Path(detector.model)
    of_network = []
    if path.suffix == ".onnx":
        from ocdnet.onnx_file import model_sha256

        digests = [model_sha256(path)]
    else:
        digests = [sha256(path)]
        of_network = [repr(model)]  # a checkpoint's network is the spec's
    digests += [sha256(file) for file in (beside(path), Path(model.pruned_graph_path)) if _is(file)]
    return MapCache(folder, json.dumps([VERSION, identity, digests, of_network]))


def _is(path: Path) -> bool:
    return path.name != "" and path.is_file()


def keep(cache: MapCache, picture: Path, page: Page, postprocess: DBPostprocessor) -> None:
    """Keep a page's map, which it still holds; what can't be kept is not."""
    probability, frame = page.held_map()
    try:
        key = cache.key(digest_of(picture))
    except OSError:
        return
    cache.put(key, Kept.of(probability, frame, settings_of(postprocess), page.polygons))


def settings_of(postprocess: DBPostprocessor) -> tuple[float, float, int, float, bool]:
    """What `Kept` remembers of a post-processing."""
    one = postprocess
    return one.thresh, one.box_thresh, one.max_candidates, one.unclip_ratio, one.polygon
