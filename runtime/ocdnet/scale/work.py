"""What an actor does with partitions, whatever it is: a detector that is opened once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ocdnet import findings
from ocdnet.data.reading import pixel_limit
from ocdnet.detector import Detector
from ocdnet.errors import DataError, UserError
from ocdnet.findings import Findings
from ocdnet.hardware import limited
from ocdnet.scale.plan import Partition
from ocdnet.scale.storage import read_file
from ocdnet.zoo.fetching import model_file

Open = Callable[[Path, str, int], Detector]
"""A detector from the model's file, its device and a number of threads; it can be pickled."""
_BESIDE = (".json", ".data", "_data")
"""What follows a model's name in the names of the files that belong to it."""


def model_files(model: str, expected: str) -> dict[str, bytes]:
    """A model's files by name, the model first: nodes get them from here.

    Args:
        model: its path, URI, or a name of public weights.
        expected: of the error where there is no such file.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    uri = model if "://" in model else str(model_file(model).absolute())
    files = {f"{uri}{beside}": read_file(f"{uri}{beside}") for beside in ("", *_BESIDE)}
    if files[uri] is None:
        raise DataError("no-model", f"There is no file {model}", got=model, expected=expected)
    return {name.rpartition("/")[2]: data for name, data in files.items() if data is not None}


@dataclass(kw_only=True)
class Work:
    """All that a process on another machine needs; it is pickled before it has opened a model.

    Attributes:
        model: the model's files, by name, the model itself first: no node needs to have them.
        open_detector: as `Open` says.
        device: for it.
        threads: for it; 0: one for each CPU.
        megapixels: of the largest picture that is read.
        in_order: whether what comes of partitions is wanted in their order.
        again: what a run that was ended asks of its user.
    """

    model: dict[str, bytes]
    open_detector: Open
    device: str = "auto"
    threads: int = 0
    megapixels: int = 0
    in_order: ClassVar[bool] = False
    again: ClassVar[str] = "Run it again."
    _detector: Detector | None = field(default=None, repr=False)

    def run(self, partition: Partition) -> dict[str, Any]:
        """What a partition came to; `findings`: a list of what was seen.

        Raises:
            UserError: the model or a picture cannot be used.
        """
        raise NotImplementedError

    def pictures(self, partition: Partition) -> str:
        """What a partition reads, for somebody who looks for it."""
        raise NotImplementedError

    @contextmanager
    def working(self) -> Iterator[tuple[Findings, Path]]:
        """What is seen within, and an empty folder that goes; threads and pictures have limits."""
        with (
            limited(self.threads),
            pixel_limit(self.megapixels),
            findings.collecting() as seen,
            tempfile.TemporaryDirectory(prefix="ocdnet-") as scratch,
        ):
            yield seen, Path(scratch)

    def opened(self) -> Detector:
        """The detector."""
        if self._detector is None:
            with tempfile.TemporaryDirectory(prefix="ocdnet-") as folder:
                for name, content in self.model.items():
                    (Path(folder) / name).write_bytes(content)
                model = Path(folder) / next(iter(self.model))
                try:
                    self._detector = self.open_detector(model, self.device, self.threads)
                except UserError as error:
                    error.message = error.message.replace(f"{folder}/", "")
                    raise
        return self._detector


Runner = Callable[[Work, Sequence[Partition]], Iterator[dict[str, Any]]]
"""Does the partitions, wherever: Ray's is `cluster.run`."""
