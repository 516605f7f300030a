"""What a set's labels measure: heights, angles, words a picture; counted while they are read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from heapq import heappush, heappushpop
from typing import NamedTuple

from ocdnet.data.label_reader import Region
from ocdnet.data.picture_header import PictureSize, picture_size

_LARGEST = 10_000
"""Pixels and words beyond which numbers are counted as this one: memory stays flat."""
_PLAIN = 1.5
"""Length by height from which a word's longer side shows how it runs."""
_KEPT = 6


class Extent(NamedTuple):
    """How large a region is, and how it runs.

    Attributes:
        height: pixels of its shorter side.
        length: pixels of its longer side.
        angle: degrees in -90..90, clockwise on the screen: of the longer side, of a region that is
            nearly square of its first edge, in -45..45.
    """

    height: float
    length: float
    angle: float


class Strange(NamedTuple):
    """A picture that stands out.

    Attributes:
        value: by how much; what it means, its kind says.
        number: of the picture in its set.
        image: path.
        regions: its labels.
    """

    value: float
    number: int
    image: str
    regions: list[Region]


MOST_WORDS = "Most words"
SMALLEST = "Smallest words"
STEEPEST = "Steepest words"
MOST_IGNORED = "Most ignored text"
BEYOND = "Labels beyond the picture"


class Measures:
    """The numbers of one set.

    Attributes:
        images: pictures.
        empty: pictures without any region.
        regions: in all.
        tagged: regions to ignore, as their labels say.
        flat: regions without area.
        heights: words by height in whole pixels; a word is a region that is not ignored.
        lengths: words by length in whole pixels.
        angles: words by angle in whole degrees.
        counts: pictures by their number of words.
        sizes: pictures by width and height, of those whose header tells.
        strange: the pictures that stand out, by kind.
    """

    def __init__(self) -> None:
        self.images = self.empty = self.regions = self.tagged = self.flat = 0
        self.heights: Counter[int] = Counter()
        self.lengths: Counter[int] = Counter()
        self.angles: Counter[int] = Counter()
        self.counts: Counter[int] = Counter()
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.strange: dict[str, list[Strange]] = {}

    @property
    def words(self) -> int:
        """Regions that train and count."""
        return self.regions - self.tagged - self.flat

    @classmethod
    def together(cls, parts: Iterable[Measures]) -> Measures:
        """The numbers of several sets as of one, without their strange pictures."""
        total = cls()
        for part in parts:
            for name in ("images", "empty", "regions", "tagged", "flat"):
                setattr(total, name, getattr(total, name) + getattr(part, name))
            for name in ("heights", "lengths", "angles", "counts", "sizes"):
                getattr(total, name).update(getattr(part, name))
        return total

    def see(self, image: str, regions: list[Region], size: PictureSize | None) -> None:
        """Count a picture.

        Args:
            image: path.
            regions: its labels.
            size: of the picture, where that was looked up already.
        """
        size = size or picture_size(image)
        if size:
            self.sizes[size.width, size.height] += 1
        tagged = words = 0
        heights = slopes = 0.0
        for values, _, ignored, flat in regions:
            tagged += ignored
            if ignored or flat:
                self.flat += flat
                continue
            height, length, angle = extent(values)
            words += 1
            heights += height
            slopes += abs(angle)
            self.heights[min(int(height), _LARGEST)] += 1
            self.lengths[min(int(length), _LARGEST)] += 1
            self.angles[round(angle)] += 1
        self.images += 1
        self.regions += len(regions)
        self.tagged += tagged
        self.empty += not regions
        self.counts[min(words, _LARGEST)] += 1
        seen: dict[str, float] = {MOST_IGNORED: tagged}
        if words:
            seen |= {MOST_WORDS: words, SMALLEST: -heights / words, STEEPEST: slopes / words}
        if size and regions:
            seen[BEYOND] = _beyond(regions, size)
        self._keep(seen, image, regions)

    def _keep(self, seen: dict[str, float], image: str, regions: list[Region]) -> None:
        for kind, value in seen.items():
            kept = self.strange.setdefault(kind, [])
            if value == 0 or (len(kept) == _KEPT and value <= kept[0].value):
                continue
            one = Strange(value, self.images, image, regions)
            (heappush if len(kept) < _KEPT else heappushpop)(kept, one)

    def strangest(self, kind: str) -> list[Strange]:
        """The pictures of a kind that stand out most, the first above all."""
        return sorted(self.strange.get(kind, ()), reverse=True, key=lambda one: one.value)


def _beyond(regions: Sequence[Region], size: PictureSize) -> float:
    """Pixels by which labels reach beyond a picture; what is a hundredth of a side or less is 0."""
    right = max(max(values[0::2]) for values, *_ in regions) - size.width
    low = max(max(values[1::2]) for values, *_ in regions) - size.height
    before = -min(min(values) for values, *_ in regions)
    beyond = max(right, low, before)
    return beyond if beyond > max(size.width, size.height) / 100 else 0.0


def extent(values: list[float]) -> Extent:
    """The extent of the region x1, y1, ..., in order round it."""
    if len(values) != 8:
        return _extent_of_outline(values)
    x0, y0, x1, y1, x2, y2, x3, y3 = values
    along, down = x1 - x0 + x2 - x3, y1 - y0 + y2 - y3
    across, off = x3 - x0 + x2 - x1, y3 - y0 + y2 - y1
    first, second = math.hypot(along, down) / 2, math.hypot(across, off) / 2
    if first >= _PLAIN * second:
        return Extent(second, first, _folded(math.atan2(down, along), 180))
    if second >= _PLAIN * first:
        return Extent(first, second, _folded(math.atan2(off, across), 180))
    height, length = min(first, second), max(first, second)
    return Extent(height, length, _folded(math.atan2(down, along), 90))


def _extent_of_outline(values: list[float]) -> Extent:
    """The sides of a band with an outline's area and circumference: it may be curved."""
    xs, ys = values[0::2], values[1::2]
    area = around = 0.0
    x0, y0 = xs[-1], ys[-1]
    for x1, y1 in zip(xs, ys, strict=True):
        area += x0 * y1 - x1 * y0
        around += math.hypot(x1 - x0, y1 - y0)
        x0, y0 = x1, y1
    half = around / 2
    root = math.sqrt(max(0.0, half * half - 2 * abs(area)))
    middle_x, middle_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - middle_x) ** 2 - (y - middle_y) ** 2 for x, y in zip(xs, ys, strict=True))
    both = 2 * sum((x - middle_x) * (y - middle_y) for x, y in zip(xs, ys, strict=True))
    angle = _folded(math.atan2(both, spread) / 2, 180)
    return Extent((half - root) / 2, (half + root) / 2, angle)


def _folded(radians: float, turn: int) -> float:
    """An angle in degrees, brought between plus and minus half a `turn`."""
    return (math.degrees(radians) + turn / 2) % turn - turn / 2


def quantile(counts: Counter[int], share: float) -> int:
    """The number that a share of all is at most; of none at all 0."""
    left = share * counts.total()
    for number in sorted(counts):
        left -= counts[number]
        if left <= 0:
            return number
    return max(counts, default=0)
