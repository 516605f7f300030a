"""The calibration cache of INT8 engines: ranges, and digests of what they were computed from."""

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
from ocdnet.files import read_regular, write_json
from ocdnet.quantization.calibration import calibration_batches, calibration_images
from ocdnet.quantization.ranges import Ranges, calibrate

LOG = logging.getLogger("ocdnet")
KIND = "ocdnet-calibration"
_MOST_BYTES = 1 << 26
ALGORITHM = "percentile"
"""The range of all but one value in 100,000: over many images the extremes would make the steps of
int8 too coarse. TensorRT's own algorithm, entropy, kept no more of the hmean, and takes longer."""


@dataclass(frozen=True)
class Calibrated:
    """What an INT8 engine is built with.

    Attributes:
        ranges: of the network's tensors.
        digest: of the calibration cache, which names model, preprocessing, images and settings.
        images: those calibrated on; empty if the ranges come from a cache and the images are gone.
        reused: whether the ranges come from an earlier cache.
    """

    ranges: Ranges
    digest: str
    images: list[Path]
    reused: bool


def calibrated(source: Source, config: Calibration) -> Calibrated:
    """The ranges in the cache or, without one, those of the calibration images, which are cached.

    A cache must have been made with the same model, preprocessing, images (names and sizes) and
    settings; no image is decoded then. Images that are gone are not compared.

    Raises:
        DataError: the cache is damaged or was made with something else, or there are no images.
    """
    path = Path(config.cal_cache_file)
    cached = _read(path)
    folders = [Path(folder) for folder in config.cal_image_dir]
    wanted = config.cal_batch_size * config.cal_batches
    if cached is not None and not any(folder.exists() for folder in folders):
        LOG.warning("The calibration images are gone: the ranges of %s are used unchecked.", path)
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
    if cached is not None:
        _check(path, cached, made_of)
        ranges = Ranges.from_json(cached.get("ranges"))
        LOG.info("The ranges are those of %s: nothing is calibrated.", path)
        return Calibrated(ranges, digest(cached), images, True)
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
        content = json.loads(read_regular(path, _MOST_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _no_cache(path, str(error)) from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise _no_cache(path, "another kind of file")
    return content


def _check(path: Path, cached: dict[str, Any], made_of: dict[str, str]) -> None:
    """Refuse ranges that were computed from something else."""
    # Not calibrated anew: that would overwrite a file which may belong to another engine.
    for name, value in made_of.items():
        if cached.get(name) != value:
            raise DataError(
                "calibration-mismatch",
                f"{path} holds the calibration of another {name.removesuffix('s')}"
                if name != "settings"
                else f"{path} was calibrated with other settings",
                got=f"{name} {cached.get(name)}",
                expected=f"{name} {value}",
                hint="Remove the cache, or set "
                "gen_trt_engine.tensorrt.calibration.cal_cache_file to another path.",
            )


def _no_cache(path: Path, got: str) -> DataError:
    return DataError(
        "bad-calibration",
        f"{path} is not a calibration cache of this program",
        got=got[:200],
        expected="a file that gen_trt_engine has written; TensorRT's own caches lack the digests",
        hint="Set gen_trt_engine.tensorrt.calibration.cal_cache_file to another path.",
    )
