"""The cache of a detector's maps: evaluate fills it, tune reads it."""

from __future__ import annotations

import json
from pathlib import Path

from ocdnet.backends.sidecar import beside
from ocdnet.config.model import ModelConfig
from ocdnet.config.spec import Loaded
from ocdnet.detector import Detector
from ocdnet.errors import UserError
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
    try:
        files = network_digests(Path(detector.model), loaded.experiment.model)
    except (OSError, UserError):  # the network is open, and needs its file no more: nor do we
        return None
    return MapCache(folder, json.dumps([VERSION, identity, files]))


def network_digests(path: Path, model: ModelConfig) -> list[str]:
    """What tells a network from any other.

    Raises:
        UserError: its files are not there any more, or cannot be read.
    """
    beside_it = [sha256(beside(path))] if beside(path).is_file() else []
    if path.suffix == ".onnx":
        from ocdnet.onnx_file import model_sha256

        return [model_sha256(path), *beside_it]
    graph = [sha256(Path(model.pruned_graph_path))] if model.pruned_graph_path else []
    return [sha256(path), *beside_it, *graph, repr(model)]  # a checkpoint's network is the spec's


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
