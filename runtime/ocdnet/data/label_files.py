"""Which label file of a split folder belongs to an image, and what to say where none does."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from ocdnet.data.formats.recognise import convert_line
from ocdnet.data.layout import LABEL_NAMES, file_names, is_image
from ocdnet.errors import DataError

_AROUND = re.compile(r"^(?:poly_gt|gt|truth|res|labels?)_|_(?:gt|truth|labels?)$")


class LabelFiles:
    """The label files of a split folder.

    Args:
        root: the folder that holds img/ and gt/.
        names: of the files in gt/; not given: all of them.

    Attributes:
        labels: names of those that can be labels.
    """

    def __init__(self, root: Path, names: list[str] | None = None) -> None:
        self._images, self._folder = root / "img", root / "gt"
        self._names = list(file_names(self._folder)) if names is None else names
        self.labels = {name for name in self._names if name.lower().endswith(".txt")}
        self._others: dict[str, str] | None = None

    def find(self, image: str) -> str | None:
        """The name of an image's label file; None without one."""
        stem = image.rpartition(".")[0]
        names = (pattern.format(stem) for pattern in LABEL_NAMES)
        return next((name for name in names if name in self.labels), None)

    def of(self, image: str) -> str:
        """The name of an image's label file.

        Raises:
            DataError: there is none; the hint names what is there instead.
        """
        label = self.find(image)
        if label is not None:
            return label
        stem = image.rpartition(".")[0]
        names = ", ".join(pattern.format(stem) for pattern in LABEL_NAMES)
        raise DataError(
            "missing-label",
            f"The image {self._images / image} has no label file",
            got=f"none of {names}",
            expected=str(self._folder / LABEL_NAMES[0].format(stem)),
            hint=self.hint(image),
        )

    def hint(self, image: str) -> str:
        """What to do for an image without a label file."""
        other = self._other(image)
        if other is not None:
            return (
                f"{other} is there, but no label file by its name: only .txt files of lines"
                f" x1,y1,...,x4,y4,transcription are read, named {LABEL_NAMES[0].format('STEM')} or"
                f" {LABEL_NAMES[1].format('STEM')} (small letters). {self._how_to_convert}"
            )
        if not self.labels:
            return f"There is no label file in {self._folder} at all: put the labels there."
        return (
            f"Put its labels there (a label file in {self._folder} is named {min(self.labels)});"
            " only an image without text has an empty one."
        )

    @cached_property
    def _how_to_convert(self) -> str:
        return convert_line(self._folder.parent) or "Convert or rename it."

    def _other(self, image: str) -> Path | None:
        """A file that looks like the labels of an image, in gt/ or beside the image."""
        if self._others is None:
            beside = (name for name in file_names(self._images) if not is_image(name))
            self._others = {_key(name): str(self._images / name) for name in beside}
            self._others |= {_key(name): str(self._folder / name) for name in self._names}
        found = self._others.get(_key(image))
        return None if found is None else Path(found)


def _key(name: str) -> str:
    """A file's name without suffixes, case, and what label files have around the image's name."""
    stem = name.casefold().rpartition(".")[0] or name.casefold()
    while is_image(stem) or stem.endswith(".txt"):
        stem = stem.rpartition(".")[0]
    return _AROUND.sub("", stem)
