"""The files of a run's results: a row a picture, in Parquet or as lines of JSON."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ocdnet.actions.page_records import Sink, json_lines
from ocdnet.runs.pages import PageRecord
from ocdnet.runs.typed import to_json
from ocdnet.scale.storage import opened, put_whole, reaching

Format = Literal["parquet", "jsonl"]
_ROWS = 500
"""Rows that are written at a time."""
_SHOWN = 10
UNREACHED = "cannot-reach"
"""Code of what a store did not give, though it may be there: another time it may."""


@dataclass
class Counts:
    """What a partition came to.

    Attributes:
        images: that were read.
        regions: found in them.
        skipped_images: that could not be read.
        skipped: the first of these, and their problems.
        unreached: of these, that another time may be read.
    """

    images: int = 0
    regions: int = 0
    skipped_images: int = 0
    skipped: dict[str, dict[str, Any]] = field(default_factory=dict)
    unreached: int = 0

    def add(self, row: dict[str, Any]) -> None:
        """Count a row."""
        if row.get("error") is None:
            self.images += 1
            self.regions += len(row["regions"])
            return
        self.skipped_images += 1
        self.unreached += row["error"]["code"] == UNREACHED
        if len(self.skipped) < _SHOWN:
            self.skipped.setdefault(row["image"], row["error"])


def part_name(number: int, kind: Format) -> str:
    """The file of a partition."""
    return f"part-{number:06d}.{kind}"


@contextmanager
def writing(uri: str, kind: Format) -> Iterator[Sink]:
    """Write a row for each record; the file is there, whole, when the block succeeds."""
    with tempfile.TemporaryDirectory(prefix="ocdnet-") as folder:
        local = Path(folder) / "part"
        with _WRITERS[kind](local) as add:
            yield add
        put_whole(local, uri)


def rows_of(uri: str) -> Iterator[dict[str, Any]]:
    """The rows of a partition's file, as `schemas/page.schema.json` has them."""
    fs, path = opened(uri)
    with reaching(uri), fs.open(path, "rb") as file:
        if uri.endswith(".jsonl"):
            yield from map(json.loads, file)
            return
        from pyarrow.parquet import ParquetFile  # noqa: PLC0415 (an extra)

        for batch in ParquetFile(file).iter_batches(_ROWS):
            for row in batch.to_pylist():
                problem = row["error"] and _set(row["error"])
                yield _set(row | {"error": problem})


def _set(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if value is not None}


@contextmanager
def _parquet(path: Path) -> Iterator[Sink]:
    import pyarrow as pa  # noqa: PLC0415 (an extra)
    from pyarrow.parquet import ParquetWriter  # noqa: PLC0415

    text, count = pa.string(), pa.int32()
    region = pa.struct({"polygon": pa.list_(pa.list_(pa.float64())), "score": pa.float64()})
    problem = pa.struct(dict.fromkeys(("code", "message", "got", "expected", "hint"), text))
    schema = pa.schema(
        {
            "schema_version": count,
            "image": text,
            "page": count,
            "width": count,
            "height": count,
            "regions": pa.list_(region),
            "error": problem,
        }
    )
    waiting: list[dict[str, Any]] = []
    with ParquetWriter(path, schema) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(waiting, schema))
            waiting.clear()

        def add(record: PageRecord) -> None:
            row = to_json(record)
            if record.error is not None:
                error = row["error"]
                row["error"] = {key: _text(value) for key, value in error.items()}
            waiting.append(row)
            if len(waiting) == _ROWS:
                flush()

        yield add
        flush()


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


_WRITERS: dict[Format, Callable[[Path], Any]] = {"parquet": _parquet, "jsonl": json_lines}
