"""What an actor does with a partition: read its pictures, find their text, write its file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import tee
from pathlib import Path
from typing import Any, ClassVar

from ocdnet.actions.page_loop import Picture, records
from ocdnet.errors import EnvironmentFault
from ocdnet.findings import Finding
from ocdnet.page import Page
from ocdnet.runs.pages import PageRecord
from ocdnet.runs.typed import to_json
from ocdnet.scale.parts import UNREACHED, Counts, Format, part_name, rows_of, writing
from ocdnet.scale.pieces import Piece
from ocdnet.scale.plan import Partition, piece_of
from ocdnet.scale.reading import pictures_of
from ocdnet.scale.storage import opened, reaching
from ocdnet.scale.work import Work

_OUTAGE = 20
"""Pictures that a store did not give, and no other came: it will not give the next ones either."""


@dataclass(kw_only=True)
class Job(Work):
    """Detection: rows in files.

    Attributes:
        target: folder of the results.
        kind: of the results' files.
        reading_order: put the regions into the order of reading.
    """

    target: str
    kind: Format
    reading_order: bool = False
    again: ClassVar[str] = "Run it again: partitions that are done are not done again."

    def run(self, partition: Partition) -> dict[str, Any]:
        """Do a partition, unless its file is there, and all in it was reached.

        Returns:
            Its counts; `before`: whether the file was there; `findings`: what was seen.

        Raises:
            UserError: the model cannot be used, the file not be written, or no picture be reached.
        """
        target = f"{self.target}/{part_name(partition.number, self.kind)}"
        fs, path = opened(target)
        with reaching(target):
            before = bool(fs.exists(path))
        counts = Counts()
        seen: list[Finding] = []
        if before:
            for row in rows_of(target):
                counts.add(row)
        if not before or counts.unreached:
            before, counts = False, Counts()
            seen = self._detect(piece_of(self.target, partition), target, counts)
        return asdict(counts) | {"before": before, "findings": seen}

    def pictures(self, partition: Partition) -> str:
        """The first and last file, or the rows of one."""
        return piece_of(self.target, partition).shown

    def _detect(self, piece: Piece, target: str, counts: Counts) -> list[Finding]:
        fetched: dict[str, str] = {}
        with self.working() as (seen, scratch), writing(target, self.kind) as write:
            for record in self._records(piece, scratch, fetched):
                write(record)
                counts.add(to_json(record))
            if counts.unreached >= _OUTAGE and not counts.images:
                raise EnvironmentFault(
                    UNREACHED,
                    f"A store gave none of {counts.unreached} pictures: {piece.shown}",
                    got=next(iter(counts.skipped.values()))["message"],
                    expected="a store that can be reached, and the right to read",
                    hint=self.again,
                )
        return [row.renamed(fetched) for row in seen.rows()]

    def _records(
        self, piece: Piece, scratch: Path, fetched: dict[str, str]
    ) -> Iterator[PageRecord]:
        """The piece's records; what was fetched for one goes when the next one is there.

        `fetched` gets the name of each picture by its file's.
        """
        pictures, same = tee(pictures_of(piece, scratch))
        found = records(self.opened(), pictures, self._record, keeps_going=True)
        last: Path | None = None
        for record, picture in zip(found, same, strict=True):
            if last is not None and last != picture.page.path and scratch in last.parents:
                last.unlink(missing_ok=True)
            last = picture.page.path
            fetched[str(last)] = picture.image
            yield record

    def _record(self, picture: Picture, page: Page) -> PageRecord:
        ordered = page.in_reading_order() if self.reading_order else page
        return replace(ordered.record(), image=picture.image)
