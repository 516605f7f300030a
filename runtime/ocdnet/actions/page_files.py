"""What is written of the text of pictures: one writer for `ocdnet predict` and inference."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ocdnet.files import write_text
from ocdnet.page import Page
from ocdnet.runs.files import PREDICTIONS
from ocdnet.runs.pages import PageRecord
from ocdnet.visualize import RED, draw_polygons, probability_image, write_image

_OF_ALL = {"json": PREDICTIONS, "coco": "coco.json"}
_CROPS = "crops"
"""In a folder of results: the files of all pictures, and the folder of the crops."""


def text_lines(page: Page) -> str:
    """One line a region: whole-pixel coordinates of the original image, then the score."""
    lines = []
    for polygon, score in zip(page.polygons, page.scores.tolist(), strict=True):
        points = np.rint(polygon).astype(int).ravel().tolist()
        lines.append(",".join(map(str, points)) + f",{score:.6f}\n")
    return "".join(lines)


def _write_txt(path: Path, page: Page) -> None:
    write_text(path, text_lines(page))


def _write_result(path: Path, page: Page) -> None:
    write_image(path, draw_polygons(page.image, page.polygons, RED))


def _write_pred(path: Path, page: Page) -> None:
    if page.probability is not None:
        write_image(path, probability_image(page.probability))


def _write_overlay(path: Path, page: Page) -> None:
    page.draw(path)


def _write_heatmap(path: Path, page: Page) -> None:
    page.heatmap(path)


_OF_EACH: dict[str, tuple[str, Callable[[Path, Page], None]]] = {
    "txt": (".txt", _write_txt),
    "result": ("_result.jpg", _write_result),
    "pred": ("_pred.jpg", _write_pred),
    "overlay": ("_overlay.jpg", _write_overlay),
    "heatmap": ("_heatmap.jpg", _write_heatmap),
}
"""What a picture may get a file of: the file's suffix, and what writes it."""


def names_beforehand(stems: Iterable[Path], outputs: Collection[str]) -> list[str]:
    """The files of outputs below a folder; not of the crops, whose number is not known yet."""
    suffixes = [suffix for name, (suffix, _) in _OF_EACH.items() if name in outputs]
    together = [name for output, name in _OF_ALL.items() if output in outputs]
    return together + [f"{stem}{suffix}" for stem in stems for suffix in suffixes]


@dataclass(frozen=True)
class PageFiles:
    """Where the text of pictures goes; None: it was not asked for.

    Attributes:
        folder: of the files that each picture gets, but for its crops.
        outputs: which these are: names of `inference.outputs`.
        json: file of the records, a line each.
        coco: file of the same in COCO's form.
        crops: folder of the crops.
    """

    folder: Path | None = None
    outputs: Collection[str] = ()
    json: Path | None = None
    coco: Path | None = None
    crops: Path | None = None

    @classmethod
    def below(cls, folder: Path, outputs: Collection[str]) -> PageFiles:
        """All of them in one folder."""
        names = {**_OF_ALL, "crops": _CROPS}
        paths = {output: folder / name for output, name in names.items() if output in outputs}
        return cls(folder, outputs, **paths)

    def names(self, nested: bool) -> dict[str, Any]:
        """The fields of `PageFileNames`.

        Args:
            nested: whether there are sub-folders.
        """
        pattern = f"{'**/' * nested}*"
        overlay = next((name for name in ("result", "overlay") if name in self.outputs), None)
        pictures = {
            "overlays": overlay,
            "heatmaps": "heatmap" if "heatmap" in self.outputs else None,
        }
        paths = {"json": self.json, "coco": self.coco, "crops": self.crops} | {
            field: self.folder / f"{pattern}{_OF_EACH[name][0]}"
            for field, name in pictures.items()
            if name is not None and self.folder is not None
        }
        return {field: str(path) for field, path in paths.items() if path is not None}

    def write(self, name: Path, page: Page) -> PageRecord:
        """Write a picture's files; may be called in threads.

        Args:
            name: of the picture's results, relative and without a suffix.
            page: with its pixels and its map.

        Returns:
            Its record, which names the crops.

        Raises:
            UserError: a file can't be written.
        """
        for output, (suffix, write) in _OF_EACH.items():
            if output in self.outputs and self.folder is not None:
                write(self.folder / name.with_name(f"{name.name}{suffix}"), page)
        record = page.record()
        return record if self.crops is None else _cut_out(self.crops, name, page, record)


def _cut_out(folder: Path, name: Path, page: Page, record: PageRecord) -> PageRecord:
    """Write `<name>_<number>.png` of each region, numbered from 1 in the order of the record."""
    regions = []
    for number, (region, crop) in enumerate(zip(record.regions, page.crops(), strict=True), 1):
        file = name.with_name(f"{name.name}_{number}.png")
        write_image(folder / file, crop)
        regions.append(replace(region, crop=file.as_posix()))
    return replace(record, regions=tuple(regions))
