"""Converting a set of labelled pictures: read in one format, written in another, whole or not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ocdnet.data.doubts import Doubts
from ocdnet.data.formats import coco, labelme, lines, pages, tools
from ocdnet.data.formats.labelled import Labelled, Malformed, Shape
from ocdnet.data.formats.left_out import LeftOut
from ocdnet.data.formats.pictures import Pictures, is_picture
from ocdnet.data.formats.recognise import FORMS, LINES, LISTING, form_of, forms_in, is_label, walk
from ocdnet.data.formats.writing import WRITERS, Picture, Writers
from ocdnet.data.layout import is_archive
from ocdnet.data.new_folder import new_folder
from ocdnet.data.picture_header import PictureSize, picture_size
from ocdnet.data.reading import read_image
from ocdnet.errors import DataError, UserError
from ocdnet.findings import collecting, note
from ocdnet.progress_bar import counter

Read = Callable[[Path, LeftOut], Iterator[Labelled]]
_READERS: dict[str, tuple[Read, tuple[str, ...]]] = {
    "labelme": (labelme.read, (".json",)),
    "coco": (coco.read, (".json",)),
    "coco-text": (coco.read_text, (".json",)),
    "doctr": (pages.read_doctr, (".json",)),
    "mmocr": (pages.read_mmocr, (".json",)),
    "paddleocr": (pages.read_paddleocr, (".txt", ".tsv")),
    "cvat": (tools.read_cvat, (".xml",)),
    "via": (tools.read_via, (".json", ".csv")),
    "voc": (tools.read_voc, (".xml",)),
    "yolo-obb": (lines.read_yolo, (".txt",)),
    "datalist": (lines.read_datalist, (".txt", ".lst", ".tsv")),
}
"""By the format's name: its reader, and the suffixes of its label files."""
_BLANK_IS_NO_TEXT = LINES | {"yolo-obb"}
_LABEL_FOLDERS = frozenset({"annotations", "labels", "label", "gt", "json"})
_SPLIT = re.compile(r"(?:^|[/_.-])(train|val|test)(?:ing|id|idation)?(?=[/_.\d-]|$)")
_SPLIT_NAME = re.compile(r"[\w-]{1,40}")
_SHOWN = 10


@dataclass(frozen=True)
class Conversion:
    """What is to be converted.

    Attributes:
        source: a label file, or a folder of them.
        form: the format; "auto": recognised.
        to: format to write.
        out: folder to make.
        images: folders of the pictures; none: near the labels.
        link: pictures become hard links, where that is possible.
    """

    source: Path
    form: str
    to: str
    out: Path
    images: Sequence[Path] = ()
    link: bool = False


def convert(asked: Conversion) -> dict[str, Any]:
    """Convert a set; what can't be taken along is left out, noted, and listed in `left_out.txt`.

    Returns:
        JSON-ready: `from`, `recognised`, `to`, `out`, `data` (what a reader of the new format is
        given: folders or files), `images`, `regions`, `ignored`, `shapes` (regions by what they
        were), `splits` (images by split), `left_out` (by kind), `listing`, `warnings`.

    Raises:
        UsageError: `out` is neither absent nor empty.
        DataError: the source is absent, of no known format or of several; nothing could be read.
        EnvironmentFault: masks need pycocotools, which is not installed; or as `new_folder`.
    """
    with new_folder(asked.out) as new, collecting() as seen:
        paths, form = _labels(asked)
        root = new.scratch / "set"
        root.mkdir()
        with (root / LISTING).open("x", encoding="utf-8") as listing:
            work = _Work(asked, form, paths, root, LeftOut(listing))
            work.run()
        rows = seen.rows()
        if not sum(work.writers.counts.values()):
            raise _nothing(asked.source, work.form, [row.text for row in rows])
        if not work.left_out.counts:
            (root / LISTING).unlink()
        new.take(root)
    return work.result() | {
        "warnings": [
            {"code": row.code, "message": row.message, "files": row.files, "count": row.count}
            for row in rows
        ]
    }


def _labels(asked: Conversion) -> tuple[list[Path], str]:
    """The label files of a source, and their format."""
    if asked.source.is_file():
        paths = [asked.source]
    elif asked.source.is_dir():
        paths = [Path(entry.path) for entry in walk(asked.source) if is_label(entry.name)]
    else:
        raise DataError(
            "no-source", f"{asked.source} does not exist", expected="a file or a folder"
        )
    forms = forms_in(paths) if asked.form == "auto" else Counter([asked.form])
    if not forms:
        raise _unknown(asked.source, paths)
    if len(forms) > 1:
        examples = {form_of(path): str(path) for path in reversed(paths[:1000])}
        raise DataError(
            "mixed-formats",
            f"{asked.source} holds labels of several formats",
            got=[f"{form} ({count}): {examples.get(form, '')}" for form, count in forms.items()],
            expected="one format",
            hint=f"Name the one that is meant: --from {forms.most_common(1)[0][0]}",
        )
    return paths, next(iter(forms))


def _unknown(source: Path, paths: Sequence[Path]) -> DataError:
    hint = "Name the format with --from where it is one of these."
    if source.is_file() and is_archive(source.name):
        hint = "It is an archive: unpack it first, by `ocdnet data extract`."
    elif source.is_dir() and any(entry.name.lower().endswith(".mat") for entry in walk(source)):
        hint = "MATLAB's .mat files are not read: Total-Text has its labels as .txt files, too."
    return DataError(
        "unknown-format",
        f"No labels of a known format were found in {source}",
        got=[str(path) for path in paths[:_SHOWN]] or "no label file",
        expected=", ".join(FORMS),
        hint=hint,
    )


def _nothing(source: Path, form: str, got: list[str]) -> DataError:
    return DataError(
        "nothing-converted",
        f"Nothing could be read from {source} as {form}",
        got=got or "no label file of that format",
        expected="label files, and their pictures beside or below them",
        hint="Pictures elsewhere: --images DIR. Another format: --from FORMAT.",
    )


@dataclass
class _Work:
    asked: Conversion
    form: str
    paths: list[Path]
    root: Path
    left_out: LeftOut
    shapes: Counter[str] = field(default_factory=Counter)
    ignored: int = 0

    def __post_init__(self) -> None:
        self.writers = Writers(self.asked.to, self.root, self.asked.link)
        self._used: set[str] = set()
        self._doubts = Doubts()
        self._splits = self._split_names()

    def run(self) -> None:
        """Read and write them all."""
        pictures = Pictures(self._roots())
        with counter("converting") as progress:
            for done, (label, labelled) in enumerate(self._read(), start=1):
                self._take(labelled, label, pictures)
                progress(done, max(done, pictures.count))
        for path in pictures.others(self._used):
            self.left_out.add("no-labels", path)
        self.writers.close()
        self._doubts.note("")
        if not self.shapes:
            note("no-text", "No label of any picture holds a region: is this the labelled set?")

    def result(self) -> dict[str, Any]:
        """What was done."""
        counts, out = self.writers.counts, self.asked.out
        given = WRITERS[self.asked.to][1]
        return {
            "from": self.form,
            "recognised": self.asked.form == "auto",
            "to": self.asked.to,
            "out": str(out),
            "data": [str(out / split / given) for split in sorted(counts)],
            "images": sum(counts.values()),
            "regions": self.shapes.total(),
            "ignored": self.ignored,
            "shapes": dict(self.shapes),
            "splits": {split: count for split, count in sorted(counts.items()) if split},
            "left_out": dict(self.left_out.counts),
            "listing": str(out / LISTING) if self.left_out.counts else None,
        }

    def _roots(self) -> Sequence[Path]:
        if self.asked.images:
            return self.asked.images
        if self.form == "datalist":  # it names the pictures' paths
            return ()
        if self.asked.source.is_dir():
            return [self.asked.source]
        folder = self.asked.source.absolute().parent
        return [folder.parent if folder.name.lower() in _LABEL_FOLDERS else folder]

    def _read(self) -> Iterator[tuple[Path, Labelled]]:
        """Pictures and their regions, each with its label file."""
        if self.form in LINES:
            pairs = lines.pairs_of(self._of_form(LINES, (".txt",)))
            self.form, reading = lines.reading_of(self.form, pairs)
            for labelled in lines.read_lines(pairs, reading, self.left_out, by_stem=True):
                yield Path(labelled.where), labelled
            return
        read, suffixes = _READERS[self.form]
        for path in self._of_form(frozenset({self.form}), suffixes):
            try:
                yield from ((path, labelled) for labelled in read(path, self.left_out))
            except DataError as error:
                why = error.message.removeprefix(f"{path}: ")
                self.left_out.add("bad-label-file", path, why)

    def _of_form(self, forms: frozenset[str], suffixes: tuple[str, ...]) -> list[Path]:
        """The label files of the format; recognised, the others are left out."""
        if len(self.paths) == 1 and self.paths[0] == self.asked.source:
            return self.paths
        named = [path for path in self.paths if path.suffix.lower() in suffixes]
        if self.asked.form != "auto":
            return named
        fitting = []
        for path in named:
            form = form_of(path)
            if form in forms or (form == "" and self.form in _BLANK_IS_NO_TEXT):
                fitting.append(path)
            else:
                self.left_out.add("other-file", path, f"it looks like {form or 'nothing known'}")
        return fitting

    def _split_names(self) -> dict[Path, str]:
        """The split of each label file by its path below the source, where there are several."""
        found = {}
        for path in self.paths:
            below = path.relative_to(self.asked.source).as_posix().lower()
            if match := _SPLIT.search(below):
                found[path] = match[1]
        return found if len(set(found.values())) > 1 else {}

    def _take(self, labelled: Labelled, label: Path, pictures: Pictures) -> None:
        """Write a picture with its labels, or note why not."""
        where, out = labelled.where, self.left_out
        path: str | None = labelled.image
        if self.form != "datalist":
            find = partial(pictures.find, labelled.image, label, by_stem=labelled.by_stem)
            path = out.attempt("missing-picture", where, find)
        if path is None:
            return
        if path in self._used:
            out.add("labelled-twice", path, where)
            return
        self._used.add(path)
        size = _size(path) if is_picture(path) else None
        if size is None:
            out.add("no-picture", path, where)
            return
        shapes = _placed(labelled, size)
        split = labelled.split.lower() if _SPLIT_NAME.fullmatch(labelled.split) else ""
        picture = Picture(path, (size.width, size.height), shapes)
        try:
            self.writers.add(split or self._splits.get(label, ""), picture)
        except Malformed as error:
            out.add("odd-name", path, str(error))
            return
        self._doubts.see(path, where, [shape.values for shape in shapes])
        self.ignored += sum(shape.ignore for shape in shapes)
        self.shapes.update(shape.kind for shape in shapes)


def _size(path: str) -> PictureSize | None:
    """A picture's size as it is shown; where its header does not tell, it is decoded."""
    size = picture_size(path)
    if size is not None:
        return size
    try:
        height, width = read_image(path).shape[:2]
    except UserError:
        return None
    return PictureSize(width, height)


def _placed(labelled: Labelled, size: PictureSize) -> list[Shape]:
    """The regions in pixels of the picture as it is shown."""
    if labelled.relative:
        factors = (size.width, size.height)
        return [
            one._replace(values=[v * factors[at % 2] for at, v in enumerate(one.values)])
            for one in labelled.shapes
        ]
    told = labelled.size
    if told is None or told == (size.width, size.height):
        return labelled.shapes
    if size.turned and told == (size.height, size.width):
        note(
            "turned-labels",
            "Labels of the stored pixels were turned with their picture, as EXIF says",
            file=labelled.where,
        )
        return [one._replace(values=size.upright(one.values)) for one in labelled.shapes]
    note(
        "other-size",
        "Labels tell another size than their picture has: they were kept as they are",
        file=f"{labelled.where}: {told[0]:g}x{told[1]:g}, not {size.width}x{size.height}",
    )
    return labelled.shapes
