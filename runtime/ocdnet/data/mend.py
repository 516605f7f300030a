"""A mended copy of a set: labels in one form, and nothing in it that could not be read."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ocdnet.data.doubts import is_inside
from ocdnet.data.label_reader import Region
from ocdnet.data.labels import has_area
from ocdnet.data.layout import LABEL_NAMES
from ocdnet.data.look import IGNORE_TAGS, look
from ocdnet.data.picture_header import PictureSize
from ocdnet.data.text_files import as_utf8
from ocdnet.files import open_regular
from ocdnet.findings import collecting

_DOUBTS = ("mended-corners", "quoted-tag", "script-column", "difficult-column")
"""What the reader mends, and notes."""

_TURNED = "turned as EXIF says"


@dataclass
class Mended:
    """What became of a set.

    Attributes:
        images: pictures of the copy.
        left_out: pictures that are not in it, each with the reason.
        counts: regions or files, by what was done to them.
    """

    images: int = 0
    left_out: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def mend(
    pairs: Iterable[tuple[str, str]],
    folder: Path,
    tags: Collection[str],
    unreadable: Collection[str],
    scratch: Path,
) -> Mended:
    """Write a mended copy of a set as a split folder.

    Labels are written in ICDAR2015's form, outlines of more or less than four points in
    Uber-Text's, which says their number. Pictures are hard links where the disk allows, else
    copies.

    Args:
        pairs: images and labels; gone through more than once.
        folder: the split folder to make.
        tags: transcriptions of regions to ignore.
        unreadable: images that are left out.
        scratch: folder for what is needed meanwhile.
    """
    texts = _InUtf8(pairs, scratch)

    def start() -> _Copy:
        # The set may be read a second time, in another way.
        shutil.rmtree(folder, ignore_errors=True)
        return _Copy(folder, tags, unreadable)

    with collecting() as seen:
        copy, errors = look(texts, start, tags)
    mended = copy.finish()
    mended.left_out += [error.message for error in errors]
    mended.counts["converted to UTF-8"] = len(texts.converted)
    for row in seen.rows():
        if row.code in _DOUBTS:
            mended.counts[row.message] = row.count
    mended.counts = +mended.counts
    return mended


class _InUtf8:
    """Images and labels; labels of another encoding that is known are converted copies."""

    def __init__(self, pairs: Iterable[tuple[str, str]], scratch: Path) -> None:
        self._pairs, self._scratch = pairs, scratch
        self.converted: dict[str, str] = {}

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for image, label in self._pairs:
            if label not in self.converted and (text := as_utf8(label)) is not None:
                path = self._scratch / f"{len(self.converted)}.txt"
                path.write_bytes(text)
                self.converted[label] = str(path)
            yield image, self.converted.get(label, label)


class _Copy:
    """Writes pictures and their labels as they are read."""

    def __init__(self, folder: Path, tags: Collection[str], unreadable: Collection[str]) -> None:
        self._images, self._labels = folder / "img", folder / "gt"
        self._images.mkdir(parents=True)
        self._labels.mkdir()
        self._unreadable, self._stems = unreadable, set[str]()
        self._tag = next((tag for tag in reversed(list(tags)) if tag), IGNORE_TAGS[-1])
        self._tags = tags
        self.mended = Mended()
        self._unsure: list[tuple[str, Path, Path]] = []

    def see(self, image: str, regions: list[Region], size: PictureSize | None) -> None:
        """Write a picture and what its labels are when they are mended."""
        if image in self._unreadable:
            self.mended.left_out.append(f"{image} can't be read")
            return
        kept = regions if size is None else self._within(image, regions, size)
        if kept is None:
            return
        name = Path(image)
        stem = self._free(name.stem)
        picture = self._images / f"{stem}{name.suffix}"
        label = self._labels / LABEL_NAMES[0].format(stem)
        _link(image, picture)
        lines = [f"{self._line(region)}\n" for region in kept if self._has_area(region)]
        label.write_text("".join(lines), encoding="utf-8", newline="\n")
        self.mended.images += 1
        if size and size.turned and kept and _fit(regions, size) and _fit(regions, _stored(size)):
            self._unsure.append((image, picture, label))

    def finish(self) -> Mended:
        """Take away what can't be told to be right, and say what became of the set."""
        for image, picture, label in self._unsure if self.mended.counts[_TURNED] else ():
            picture.unlink()
            label.unlink()
            self.mended.images -= 1
            message = "its labels may be of the stored or of the turned picture"
            self.mended.left_out.append(f"{image}: {message}")
        return self.mended

    def _free(self, stem: str) -> str:
        """A name that no other picture has: labels are found by it."""
        name, number = stem, 1
        while name.casefold() in self._stems:
            number += 1
            name = f"{stem}_{number}"
        self._stems.add(name.casefold())
        return name

    def _within(self, image: str, regions: list[Region], size: PictureSize) -> list[Region] | None:
        """Regions inside of their picture; None: they are those of another one."""
        if regions and all(0 <= min(r.values) <= max(r.values) <= 1 for r in regions):
            self.mended.counts["scaled from 0..1 to pixels"] += len(regions)
            sides = size.width, size.height
            return [
                r._replace(values=[v * sides[i % 2] for i, v in enumerate(r.values)], flat=False)
                for r in regions
            ]
        if size.turned and not _fit(regions, size) and _fit(regions, _stored(size)):
            self.mended.counts[_TURNED] += len(regions)
            return [r._replace(values=size.upright(r.values)) for r in regions]
        far = [not is_inside(region.values, size) for region in regions]
        if sum(far) * 2 > len(regions) and not all(_centred(r, size) for r in regions):
            self.mended.left_out.append(f"{image}: most of its labels lie beyond it")
            return None
        self.mended.counts["clipped to the picture"] += sum(far)
        return [
            _clipped(region, size) if beyond else region
            for region, beyond in zip(regions, far, strict=True)
        ]

    def _has_area(self, region: Region) -> bool:
        kept = has_area(region.values)
        self.mended.counts["without area, left out"] += not kept
        return kept

    def _line(self, region: Region) -> str:
        ignored = region.tagged and region.text not in self._tags
        text = self._tag if ignored else " ".join(region.text.split())
        numbers = [f"{value:.2f}".rstrip("0").rstrip(".") for value in region.values]
        if len(numbers) == 8:
            return ",".join([*numbers, text])
        return f"{' '.join(numbers)}\t{text}"


def _centred(region: Region, size: PictureSize) -> bool:
    """Whether a region's centre lies in the picture."""
    xs, ys = region.values[0::2], region.values[1::2]
    centre = sum(xs) / len(xs), sum(ys) / len(ys)
    return 0 <= centre[0] <= size.width and 0 <= centre[1] <= size.height


def _fit(regions: list[Region], size: PictureSize) -> bool:
    return all(is_inside(region.values, size) for region in regions)


def _stored(size: PictureSize) -> PictureSize:
    """The size of a turned picture as it is stored."""
    return PictureSize(size.height, size.width)


def _clipped(region: Region, size: PictureSize) -> Region:
    ends = size.width - 1, size.height - 1
    values = [min(max(v, 0.0), float(ends[i % 2])) for i, v in enumerate(region.values)]
    return region._replace(values=values)


def _link(image: str, path: Path) -> None:
    """The picture at another path: a hard link, which containers see as well, or a copy."""
    source = os.path.realpath(image)
    try:
        os.link(source, path)
    except OSError:
        with open_regular(source) as file, path.open("wb") as target:
            shutil.copyfileobj(file, target)
