"""Probability maps that a network made, kept so that thresholds are tried without it.

A map lies in the user's cache as 8 bits a pixel, compressed: some 20 kB for 1280x736. Its name is a
digest of the picture's content and of all that decides the map beside it; so another picture, model
or preprocessing never finds it. The oldest go where all of them exceed a limit.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import threading
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocdnet.geometry import Frame, Polygon
from ocdnet.install import cache_dir

LOG = logging.getLogger("ocdnet")

FOLDER = "OCDNET_MAPS"
"""Environment variable: another folder for the maps; `off`: none are kept."""
LIMIT = 1 << 30
"""Bytes that all maps take at most."""

_SUFFIX = ".map"
_TEMPORARY = ".tmp"
_FORGOTTEN = 86_400
"""Seconds after which a file that was begun and not finished is nobody's."""
_LEVELS = 255
_LARGEST = 1 << 28
"""Pixels of a map that is read."""


@dataclass(frozen=True)
class Kept:
    """A map, and what was found in it before it was rounded.

    Attributes:
        levels: uint8[h, w]: 255 times the probability.
        frame: what brings its polygons back to the picture.
        settings: of the post-processing that found these polygons: thresh, box_thresh,
            max_candidates, unclip_ratio, polygon.
        polygons: float32[N, 2] each, in pixels of the picture.
    """

    levels: NDArray[np.uint8]
    frame: Frame
    settings: tuple[float, float, int, float, bool]
    polygons: list[Polygon]

    @classmethod
    def of(
        cls,
        probability: NDArray[np.float32],
        frame: Frame,
        settings: tuple[float, float, int, float, bool],
        polygons: list[Polygon],
    ) -> Kept:
        """The map float32[h, w] of a picture, rounded."""
        levels = np.rint(np.clip(probability, 0, 1) * _LEVELS).astype(np.uint8)
        return cls(levels, frame, settings, polygons)

    @property
    def probability(self) -> NDArray[np.float32]:
        """float32[h, w] in 0..1, off by 1/510 at most."""
        return np.multiply(self.levels, np.float32(1 / _LEVELS), dtype=np.float32)

    def to_bytes(self) -> bytes:
        """The content of its file."""
        about = {
            "shape": self.levels.shape,
            "frame": [self.frame.size, self.frame.scale, self.frame.image_size],
            "settings": self.settings,
            "polygons": [polygon.ravel().tolist() for polygon in self.polygons],
        }
        pixels = zlib.compress(self.levels.tobytes(), 1)
        return json.dumps(about, separators=(",", ":")).encode() + b"\n" + pixels

    @classmethod
    def from_bytes(cls, content: bytes) -> Kept:
        """The inverse of `to_bytes`; raises ValueError where it is damaged."""
        head, _, pixels = content.partition(b"\n")
        try:
            about: Any = json.loads(head)
            height, width = map(int, about["shape"])
            if not 0 < height * width < _LARGEST:
                raise ValueError("no size of a map")
            raw = zlib.decompressobj().decompress(pixels, height * width)
            size, scale, image_size = (tuple(pair) for pair in about["frame"])
            thresh, box_thresh, most, unclip, polygon = about["settings"]
            return cls(
                np.frombuffer(raw, np.uint8).reshape(height, width),
                Frame(size, scale, image_size),
                (thresh, box_thresh, most, unclip, polygon),
                [np.array(points, np.float32).reshape(-1, 2) for points in about["polygons"]],
            )
        except (KeyError, TypeError, zlib.error) as error:
            raise ValueError("no map") from error


def default_folder() -> Path | None:
    """Where maps are kept: `ocdnet/maps` in the user's cache; None where they shall not be."""
    given = os.environ.get(FOLDER, "")
    if given == "off":
        return None
    if given:
        return Path(given).absolute()
    return cache_dir() / "maps"


def digest_of(picture: Path) -> bytes:
    """What tells a picture's content from any other; raises OSError."""
    with picture.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).digest()


class MapCache:
    """The maps that one network makes of pictures; may be used by many threads and processes.

    What cannot be written is not kept: a cache never fails a run.

    Args:
        folder: of the maps of all networks.
        identity: what decides a map beside its picture.
        limit: bytes that all maps take at most.
    """

    def __init__(self, folder: Path, identity: str, limit: int = LIMIT) -> None:
        self.folder, self._limit = folder, limit
        self._identity = hashlib.blake2b(identity.encode(), digest_size=32).digest()
        self._lock = threading.Lock()
        self._written, self._broken = 0, False

    def key(self, content: bytes) -> str:
        """The name of a picture's map, by `digest_of` the picture."""
        return hashlib.blake2b(self._identity + content, digest_size=20).hexdigest()

    def usable(self) -> bool:
        """Whether maps can be kept there."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            return False
        return os.access(self.folder, os.W_OK)

    def get(self, key: str) -> Kept | None:
        """A map that is there and whole."""
        path = self._path(key)
        try:
            kept = Kept.from_bytes(path.read_bytes())
            os.utime(path)  # of those that were not used for longest, the first go
        except ValueError:
            with suppress(OSError):
                path.unlink()
            return None
        except OSError:
            return None
        return kept

    def has(self, key: str) -> bool:
        """Whether a map is there."""
        return self._path(key).is_file()

    def put(self, key: str, kept: Kept) -> None:
        """Keep a map, whole or not at all."""
        if self._broken or self._written > self._limit:
            return
        content = kept.to_bytes()
        try:
            self._write(self._path(key), content)
        except OSError as error:
            self._broken = True
            LOG.info("Maps are not kept for `ocdnet tune`: %s", error)
            return
        with self._lock:
            self._written += len(content)

    def trim(self) -> None:
        """Remove the maps that were not used for longest, until all of them fit the limit."""
        if not self._written:
            return
        rows = []
        for path in self.folder.glob("*/*"):
            with suppress(OSError):
                state = path.stat()
                if path.suffix == _SUFFIX:
                    rows.append((state.st_mtime, state.st_size, path))
                elif path.suffix == _TEMPORARY and time.time() - state.st_mtime > _FORGOTTEN:
                    path.unlink()
        total = sum(size for _, size, _ in rows)
        for _, size, path in sorted(rows):
            if total <= self._limit:
                return
            with suppress(OSError):
                path.unlink()
            total -= size

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}{_SUFFIX}"

    def _write(self, path: Path, content: bytes) -> None:
        # Not by `ocdnet.files`: these are no results, of which runs keep a record.
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(suffix=_TEMPORARY, dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
