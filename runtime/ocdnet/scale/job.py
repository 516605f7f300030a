"""What an actor does with a partition: read its pictures, find their text, write its file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import tee
from pathlib import Path
from typing import Any

from ocdnet import findings
from ocdnet.actions.page_loop import Picture, records
from ocdnet.data.reading import pixel_limit
from ocdnet.detector import Detector
from ocdnet.hardware import limited
from ocdnet.page import Page
from ocdnet.runs.pages import PageRecord
from ocdnet.runs.typed import to_json
from ocdnet.scale.parts import Counts, Format, part_name, rows_of, writing
from ocdnet.scale.pieces import Piece
from ocdnet.scale.plan import Partition, piece_of
from ocdnet.scale.reading import pictures_of
from ocdnet.scale.storage import opened, reaching

Open = Callable[[Path, str, int], Detector]
"""A detector from the model's file, its device and a number of threads; it can be pickled."""


@dataclass
class Job:
    """All that a process on another machine needs; it is pickled before it has opened a model.

    Attributes:
        target: folder of the results.
        kind: of the results' files.
        model: the model's files, by name, the model itself first: no node needs to have them.
        open_detector: as `Open` says.
        device: for it.
        threads: for it; 0: one for each CPU.
        reading_order: put the regions into the order of reading.
        megapixels: of the largest picture that is read.
    """

    target: str
    kind: Format
    model: dict[str, bytes]
    open_detector: Open
    device: str = "auto"
    threads: int = 0
    reading_order: bool = False
    megapixels: int = 0
    _detector: Detector | None = field(default=None, repr=False)

    def run(self, partition: Partition) -> dict[str, Any]:
        """Do a partition, unless its file is there.

        Returns:
            Its counts; `before`: whether the file was there; `findings`: what was seen.

        Raises:
            UserError: the model cannot be used, or the file not be written.
        """
        target = f"{self.target}/{part_name(partition.number, self.kind)}"
        fs, path = opened(target)
        with reaching(target):
            before = bool(fs.exists(path))
        counts = Counts()
        seen: list[findings.Finding] = []
        if before:
            for row in rows_of(target):
                counts.add(row)
        else:
            seen = self._detect(piece_of(self.target, partition), target, counts)
        return asdict(counts) | {"before": before, "findings": list(map(asdict, seen))}

    def _detect(self, piece: Piece, target: str, counts: Counts) -> list[findings.Finding]:
        with (
            limited(self.threads),
            pixel_limit(self.megapixels),
            findings.collecting() as seen,
            tempfile.TemporaryDirectory(prefix="ocdnet-") as scratch,
            writing(target, self.kind) as write,
        ):
            for record in self._records(piece, Path(scratch)):
                write(record)
                counts.add(to_json(record))
        return seen.rows()

    def _records(self, piece: Piece, scratch: Path) -> Iterator[PageRecord]:
        """The piece's records; what was fetched for one goes when the next one is there."""
        pictures, same = tee(pictures_of(piece, scratch))
        found = records(self._opened(), pictures, self._record, keeps_going=True)
        last: Path | None = None
        for record, picture in zip(found, same, strict=True):
            if last is not None and last != picture.page.path and scratch in last.parents:
                last.unlink(missing_ok=True)
            last = picture.page.path
            yield record

    def _record(self, picture: Picture, page: Page) -> PageRecord:
        ordered = page.in_reading_order() if self.reading_order else page
        return replace(ordered.record(), image=picture.image)

    def _opened(self) -> Detector:
        if self._detector is None:
            with tempfile.TemporaryDirectory(prefix="ocdnet-") as folder:
                for name, content in self.model.items():
                    (Path(folder) / name).write_bytes(content)
                model = Path(folder) / next(iter(self.model))
                self._detector = self.open_detector(model, self.device, self.threads)
        return self._detector
