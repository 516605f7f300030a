"""What is doubtful in the labels of a set: counted while they are read, noted at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from ocdnet.data.picture_header import PictureSize, picture_size
from ocdnet.errors import printable
from ocdnet.findings import SHOWN, note

_MESSAGES = {
    "mended-corners": "Corners that did not go round the word were put in order",
    "crossing-outline": "Regions whose outline crosses or touches itself, which evaluation does not"
    " count",
    "numbers-as-text": "Numbers that could be more corners were read as text, since most lines are"
    " quads",
    "numbers-in-outline": "Numbers at the end of an outline could be points as well as text",
    "flat-region": "Regions without area are ignored",
    "zero-label": "have coordinates that are all 0, and are ignored: were they exported empty?",
    "relative-label": "have coordinates that all lie in 0..1, not in pixels: are they parts of"
    " width and height?",
    "script-column": "Regions ignored since the first field before their tag is read as a script"
    " (MLT)",
    "difficult-column": "Regions ignored since the flag 1 before their text is read as difficult"
    " (RCTW)",
    "flag-column": "A field 0 or 1 beside each transcription is read as text: which one is ignored"
    " is unclear",
    "quoted-tag": "Regions ignored since their text is an ignore tag in quotes",
    "hidden-tag": "Transcriptions that look like an ignore tag, or hold one beside other text, are"
    " no such tag",
    "shared-label": "Images that share their label file with another image of the same name",
    "unused-label": "Label files that belong to no image are left out",
}
_COUNTED = ("zero-label", "relative-label")
"""Their messages begin with how many regions of how many images."""
_OF_TAGS = ("script-column", "difficult-column", "flag-column", "quoted-tag", "hidden-tag")


@dataclass(slots=True)
class _Row:
    count: int = 0
    images: int = 0
    """Images in whose label file it was seen."""
    last: str = ""
    files: dict[str, int] = field(default_factory=dict)
    """The first files, and how often it was seen in each."""

    def add(self, file: str, count: int) -> None:
        self.count += count
        self.images += file != self.last
        self.last = file
        if file in self.files or len(self.files) < SHOWN:
            self.files[file] = self.files.get(file, 0) + count


_Kind: TypeAlias = tuple[str, str, str, _Row]
"""Code, message, spec key and where it was seen."""


class Doubts:
    """Counts doubts about a set's labels by their kind and file.

    Attributes:
        size: of the picture that was seen last; None: not known, or it has no regions.
    """

    def __init__(self) -> None:
        self.size: PictureSize | None = None
        self._rows: dict[str, _Row] = {}
        self._regions = self._images = 0
        self._frames = Frames()

    def see(self, image: str, label: str, regions: list[list[float]]) -> None:
        """Count an image, and compare its regions, as x1, y1, ..., with its size."""
        self._images += 1
        self._regions += len(regions)
        self.size = picture_size(image) if regions else None
        if self.size:
            self._frames.see(image, label, regions, self.size)

    def add(self, code: str, file: str, count: int = 1) -> None:
        """Count something that was seen in a file."""
        self._rows.setdefault(code, _Row()).add(file, count)

    @property
    def total(self) -> int:
        """How often anything was doubtful so far."""
        return sum(row.count for row in self._rows.values()) + self._frames.outside

    def messages(self) -> list[str]:
        """What is doubtful, a sentence each."""
        return [message for _, message, _, _ in self._kinds("")]

    def note(self, key: str) -> None:
        """Note them all; the key is that of the set's data path."""
        for kind in self._kinds(key):
            _note(*kind)

    def _kinds(self, key: str) -> Iterator[_Kind]:
        for code, row in self._rows.items():
            tags = key.replace("data_path", "args.ignore_tags")
            message = _MESSAGES[code]
            if code in _COUNTED:
                message = (
                    f"{row.count} of {self._regions} regions, in {row.images} of {self._images}"
                    f" images, {message}"
                )
            yield code, message, tags if code in _OF_TAGS else key, row
        yield from self._frames.kinds(key)


def note_shared(pairs: Iterable[tuple[str, str]], key: str) -> None:
    """Note images that have one label file among them, as those of the same name have."""
    files = list(pairs)
    used = Counter(label for _, label in files)
    doubts = Doubts()
    for image, label in files:
        if used[label] > 1:
            doubts.add("shared-label", image)
    doubts.note(key)


def _note(code: str, message: str, key: str, row: _Row) -> None:
    for file, count in row.files.items():
        note(code, message, key=key, file=printable(file), count=count)
    if rest := row.count - sum(row.files.values()):
        note(code, message, key=key, count=rest)


_SLACK = 2
"""Pixels that a corner may lie beyond its picture, and a hundredth of the side."""
_FEW = (3, 12)
"""Images and regions below which nothing is said of labels that are too small."""
_SMALL = 0.55


class Frames:
    """Compares regions with the sizes of their pictures: labels of other pictures, or turned ones.

    Attributes:
        regions: how many were compared.
        images: of how many images whose size is known.
    """

    def __init__(self) -> None:
        self.regions = self.images = 0
        self._outside = _Row()
        self._stored = self._turned = 0
        self._first = ""
        self._reach = 0.0
        self._farthest = 0.0

    def see(self, image: str, label: str, regions: list[list[float]], size: PictureSize) -> None:
        """Compare the regions of an image, at least one, as x1, y1, ..., with its size."""
        width, height = size.width, size.height
        self.regions += len(regions)
        self.images += 1
        right = max(max(values[0::2]) for values in regions)
        low = max(max(values[1::2]) for values in regions)
        least = min(map(min, regions))
        reach = (right / width, low / height)
        self._farthest = max(self._farthest, *reach)
        count = 0
        if not _inside(right, low, least, width, height):
            count = sum(not is_inside(values, size) for values in regions)
        if count:
            self._see_outside(label, size, count, (right, low, least))
            self._first = self._first or (
                f"{printable(image)} has {width}x{height} pixels, its labels reach from"
                f" {least:g} to {right:g},{low:g}"
            )
            self._reach = max(self._reach, *reach)

    def _see_outside(
        self, label: str, size: PictureSize, count: int, extent: tuple[float, float, float]
    ) -> None:
        self._outside.add(label, count)
        fits = _inside(*extent, size.height, size.width)
        self._stored += fits and size.turned
        self._turned += fits and not size.turned

    @property
    def outside(self) -> int:
        """How many regions reach beyond their picture."""
        return self._outside.count

    def kinds(self, key: str) -> Iterator[_Kind]:
        """Regions outside their pictures, and a set whose labels are all too small."""
        if self._outside.count:
            message = (
                f"{self._outside.count} of {self.regions} regions, in {self._outside.images} of"
                f" {self.images} images, reach beyond their picture ({self._first}){self._cause()}"
            )
            yield "label-outside", message, key, self._outside
        farthest = self._farthest
        enough = self.images >= _FEW[0] and self.regions >= _FEW[1]
        # Below a hundredth they are parts of width and height, or 0: that is noted by itself.
        if enough and 0.01 < farthest < _SMALL:
            message = (
                f"No region of {self.images} images lies beyond {farthest:.0%} of width or height:"
                f" labels of pictures {1 / farthest:.1f} times smaller, or in other units?"
            )
            yield "small-labels", message, key, _Row(self.regions)

    def note(self, key: str) -> None:
        """Note them; the key is that of the set's data path."""
        for kind in self.kinds(key):
            _note(*kind)

    def _cause(self) -> str:
        """What it looks like."""
        half = self._outside.images / 2
        if self._stored > half:
            return (
                ": they fit the stored pixels; pictures are read as their EXIF orientation turns"
                " them, labels must be of the turned picture"
            )
        if self._turned > half:
            return ": they fit pictures turned by 90 degrees"
        many = self._outside.count >= 0.1 * self.regions
        if self._reach > (1.05 if many else 1.3):
            return f": labels of pictures {self._reach:.1f} times as large or more?"
        return ""


def is_inside(values: list[float], size: PictureSize) -> bool:
    """Whether a region x1, y1, ... lies inside its picture, or hardly beyond."""
    right, low = max(values[0::2]), max(values[1::2])
    return _inside(right, low, min(values), size.width, size.height)


def _inside(right: float, low: float, least: float, width: int, height: int) -> bool:
    beyond_x, beyond_y = _SLACK + width / 100, _SLACK + height / 100
    within = right <= width + beyond_x and low <= height + beyond_y
    return within and least >= -min(beyond_x, beyond_y)
