"""The calibration cache of INT8 engines: ranges, and digests of what they were found with."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocdnet.actions.engine_source import Source
from ocdnet.backends.sidecar import digest
from ocdnet.config.gen_trt_engine import Calibration
from ocdnet.errors import DataError
from ocdnet.files import write_json
from ocdnet.quantization.calibration import calibration_batches, calibration_images
from ocdnet.quantization.ranges import Ranges, calibrate

LOG = logging.getLogger("ocdnet")
KIND = "ocdnet-calibration"
ALGORITHM = "percentile"
"""Of all but one value in 100,000: the extremes of many images take the steps from all others. With
TensorRT's own, entropy, a detector kept as much of its hmean, but it takes longer."""


@dataclass(frozen=True)
class Calibrated:
    """What INT8 is made with.

    Attributes:
        ranges: of the network's tensors.
        digest: of model, preprocessing, images and settings.
        images: what the ranges are of; none where a cache was used and they are not here.
        reused: whether they come from an earlier cache.
    """

    ranges: Ranges
    digest: str
    images: list[Path]
    reused: bool


def calibrated(source: Source, config: Calibration) -> Calibrated:
    """The ranges of a cache that fits, else those of the calibration images, then cached.

    A cache fits where model and preprocessing, images (names and sizes) and settings are the same;
    no image is decoded then. Where the images are not here, model and settings suffice.

    Raises:
        DataError: the cache is damaged or another model's, or there are no images.
    """
    path = Path(config.cal_cache_file)
    known = _read(path)
    folders = [Path(folder) for folder in config.cal_image_dir]
    wanted = config.cal_batch_size * config.cal_batches
    if known is not None and not any(folder.exists() for folder in folders):
        LOG.warning("The calibration images are not here: those of %s are taken on trust.", path)
        images = []
    else:
        images = calibration_images(folders, wanted)
    made_of = {
        "model": source.sha256,
        "preprocess": digest(source.preprocess.to_metadata()),
        "settings": f"{ALGORITHM}, batches of {config.cal_batch_size}",
    }
    if images:
        made_of["images"] = digest([[image.name, image.stat().st_size] for image in images])
    if known is not None:
        _check(path, known, made_of)
        ranges = Ranges.from_json(known.get("ranges"))
        LOG.info("The ranges are those of %s: nothing is calibrated.", path)
        return Calibrated(ranges, digest(known), images, True)
    if len(images) < wanted:
        LOG.warning("There are %d calibration images; %d were asked for.", len(images), wanted)
    LOG.info("Calibrating on %d images.", len(images))
    batches = calibration_batches(images, source.preprocess, config.cal_batch_size)
    ranges = calibrate(source.path, batches, ALGORITHM)
    content = {"kind": KIND, "format": 1, **made_of, "ranges": ranges.to_json()}
    write_json(path, content)
    return Calibrated(ranges, digest(content), images, False)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _not_ours(path, str(error)) from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise _not_ours(path, "another kind of file")
    return content


def _check(path: Path, known: dict[str, Any], made_of: dict[str, str]) -> None:
    """Refuse ranges that were found with something else."""
    for name, value in made_of.items():
        if known.get(name) != value:
            raise DataError(
                "calibration-mismatch",
                f"{path} holds the calibration of another {name.removesuffix('s')}"
                if name != "settings"
                else f"{path} was calibrated with other settings",
                got=f"{name} {known.get(name)}",
                expected=f"{name} {value}",
                hint="Remove the cache, or set "
                "gen_trt_engine.tensorrt.calibration.cal_cache_file to another path.",
            )


def _not_ours(path: Path, why: str) -> DataError:
    return DataError(
        "bad-calibration",
        f"{path} is no calibration cache of this program",
        got=why[:200],
        expected="a file that gen_trt_engine wrote; TensorRT's own caches hold no digests",
        hint="Set gen_trt_engine.tensorrt.calibration.cal_cache_file to another path.",
    )
