"""The pictures below some folders, found by the names that labels give them.

No path is ever made of a name in a label file: a name only chooses among the files that are there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ocdnet.data.formats.labelled import Malformed
from ocdnet.data.formats.recognise import walk
from ocdnet.data.layout import is_image
from ocdnet.data.picture_header import SIGNATURE_BYTES, kind_of
from ocdnet.files import open_regular


class Pictures:
    """The pictures in some folders and below."""

    def __init__(self, roots: Iterable[Path]) -> None:
        self._by_stem: dict[str, list[str]] = {}
        self.count = 0
        for root in roots:
            for entry in walk(root):
                if is_image(entry.name):
                    self._by_stem.setdefault(_stem(entry.name), []).append(entry.path)
                    self.count += 1

    def find(self, name: str, label: Path, *, by_stem: bool) -> str:
        """The path of a picture.

        Args:
            name: as a label file gives it: a name, the end of a path, or a stem.
            label: that file; of pictures of one name the one is meant that shares most folders
                at the end of the given name, then with the label file.
            by_stem: where there is no picture of that name, one of the label file's own will do.

        Raises:
            Malformed: there is none, or several.
        """
        parts = name.replace("\\", "/").split("/")
        found = self._named(parts[-1])
        if not found and by_stem:
            found = self._stemmed(parts[-1]) or self._stemmed(label.name)
        if not found:
            raise Malformed(f"there is no picture {name[-200:]!r}")
        return found[0] if len(found) == 1 else _nearest(found, parts, label)

    def _named(self, name: str) -> list[str]:
        found = self._by_stem.get(_stem(name), [])
        same = [path for path in found if os.path.basename(path) == name]  # noqa: PTH119
        folded = name.casefold()
        return same or [path for path in found if os.path.basename(path).casefold() == folded]  # noqa: PTH119

    def _stemmed(self, name: str) -> list[str]:
        return self._by_stem.get(name.casefold()) or self._by_stem.get(_stem(name), [])

    def others(self, used: set[str]) -> Iterable[str]:
        """The pictures that are not among those used."""
        return (path for paths in self._by_stem.values() for path in paths if path not in used)


def _stem(name: str) -> str:
    return os.path.splitext(name)[0].casefold()  # noqa: PTH122 (a tenth of Path's time)


def _nearest(found: list[str], parts: list[str], label: Path) -> str:
    near = label.absolute().parts

    def rank(path: str) -> tuple[int, int, int]:
        own = Path(path).absolute().parts
        folders = len({*own[:-1]} & {*near[:-1]})  # images/train/1.jpg of labels/train/1.txt
        return _shared(own[::-1], parts[::-1]), folders, _shared(own, near)

    ranked = sorted(found, key=rank, reverse=True)
    if rank(ranked[0]) == rank(ranked[1]):
        raise Malformed(f"{ranked[0]} and {ranked[1]} have the same name")
    return ranked[0]


def _shared(one: Iterable[str], other: Iterable[str]) -> int:
    count = 0
    for first, second in zip(one, other, strict=False):
        if first != second:
            break
        count += 1
    return count


def is_picture(path: str) -> bool:
    """Whether a file is one of a picture, by its first bytes."""
    try:
        with open_regular(path) as file:
            return kind_of(file.read(SIGNATURE_BYTES)) not in {None, "pdf"}
    except OSError:
        return False
