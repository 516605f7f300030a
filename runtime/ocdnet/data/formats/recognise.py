"""Which format a label file has, by its first and last bytes: light enough for a plan."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ocdnet import install
from ocdnet.data.layout import is_directory, is_image, is_split
from ocdnet.files import open_regular

FORMS = (
    "labelme",
    "coco",
    "coco-text",
    "paddleocr",
    "doctr",
    "mmocr",
    "icdar2015",
    "total-text",
    "uber-text",
    "mlt",
    "rctw",
    "datalist",
    "cvat",
    "via",
    "yolo-obb",
    "voc",
)
"""Names of the formats that are converted."""
LINES = frozenset({"icdar2015", "total-text", "uber-text", "mlt", "rctw"})
"""Those whose label files hold lines of text, one file for each picture."""
SUFFIXES = (".json", ".xml", ".txt", ".csv", ".tsv", ".lst")
"""Suffixes of label files, in lower case."""

LISTING = "left_out.txt"
"""A file of ours that lists what a conversion left out."""

_END_BYTES = 1 << 16
_LOOKED_AT = 200
"""Label files of a folder that are looked at for a guess."""
_WALKED = 20_000
_JSON: tuple[tuple[str, str], ...] = (
    ("via", r"shape_attributes|_via_img_metadata|_via_settings"),
    ("coco-text", r"imgToAnns|utf8_string|legibility"),
    ("mmocr", r"data_list"),
    ("doctr", r"img_dimensions|img_hash"),
    ("labelme", r"shape_type|imagePath|shapes"),
    ("coco", r"image_id|category_id|supercategory|file_name"),
    ("doctr", r"polygons"),
)
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_LINES = (
    ("via", re.compile(r"#?filename,(?:file_size|size),")),
    ("total-text", re.compile(r"\s*x:\s*\[\[")),
    ("icdar2015", re.compile(rf"\s*{_NUMBER}(?:\s*,\s*{_NUMBER}){{7}}\s*(?:,|$)")),
    ("uber-text", re.compile(rf"\s*{_NUMBER}(?: +{_NUMBER}){{7,}} *\t")),
)
_YOLO = re.compile(rf"\s*\d+(?:\s+{_NUMBER}){{4,}}\s*$")


def form_of(path: Path) -> str | None:
    """The format of a label file; "" of an empty one; None: none that is known."""
    try:
        with open_regular(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            head = file.read(_END_BYTES)
            file.seek(max(_END_BYTES, size - _END_BYTES))
            tail = file.read(_END_BYTES)
    except OSError:
        return None
    text = head.decode("utf-8-sig", "replace").lstrip()
    if not text:
        return "" if size <= _END_BYTES else None
    if text.startswith("<"):
        return _of_xml(text)
    if text.startswith(("{", "[")):
        return _of_json(text + tail.decode("utf-8", "replace"))
    return _of_line(next(line for line in text.split("\n") if line.strip()))


def _of_json(text: str) -> str | None:
    for form, names in _JSON:
        # Not within a text, where quotes are escaped.
        if re.search(rf'(?<!\\)"(?:{names})"\s*:', text):
            return form
    return None


def _of_xml(text: str) -> str | None:
    if re.search(r"<annotations\b", text):
        return "cvat"
    return "voc" if re.search(r"<annotation\b", text) else None


def _of_line(line: str) -> str | None:
    for form, pattern in _LINES:
        if pattern.match(line):
            return form
    if _YOLO.match(line) and all(-0.5 <= float(field) <= 1.5 for field in line.split()[1:]):
        return "yolo-obb"
    first, tab, second = line.partition("\t")
    if tab and is_image(first.strip()) and second.lstrip().startswith("["):
        return "paddleocr"
    second = second if tab else line.strip().rpartition(" ")[2]
    named = is_image(first.strip()) or (not tab and is_image(line.strip().rpartition(" ")[0]))
    return "datalist" if named and second.strip().lower().endswith(".txt") else None


def walk(root: Path) -> Iterator[os.DirEntry[str]]:
    """The files in a folder and below, by name; not hidden ones, nor those of linked folders."""
    waiting = [str(root)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                here = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in here:
            if not entry.name.startswith(".") and not is_directory(entry):
                yield entry
        folders = [entry for entry in here if is_directory(entry) and not entry.is_symlink()]
        waiting += [one.path for one in reversed(folders) if not one.name.startswith(".")]


def is_label(name: str) -> bool:
    """Whether a file can be a label file, by its name."""
    return name.lower().endswith(SUFFIXES) and name != LISTING


def forms_in(paths: list[Path]) -> Counter[str]:
    """How many of the files, some hundred at most from all over the list, have which format."""
    step = max(1, len(paths) // _LOOKED_AT)
    found = (form_of(path) for path in paths[::step])
    return Counter(form for form in found if form)


def convert_line(path: Path) -> str | None:
    """The command that converts labels of another format, said to a user; None: there are none.

    Args:
        path: what was given as data: a file, or a folder.
    """
    alone = path.is_file()
    files = [path] if alone else _label_files(path)
    forms = forms_in(files)
    if alone or _holds_splits(path):
        # These are read as they are, or a list of them is missing.
        for form in (*LINES, "datalist", *(["yolo-obb"] if alone else [])):
            del forms[form]
    if not forms:
        return None
    if "datalist" in forms:
        listing = next((file for file in files if form_of(file) == "datalist"), path)
        return f"Give the list of images and labels in it: {listing}."
    form = forms.most_common(1)[0][0]
    out = path.with_suffix("") if alone else path
    source = shlex.quote(f"./{path}" if str(path).startswith("-") else str(path))
    made = shlex.quote(f"{out.resolve().name}-icdar2015")
    return (
        f"It holds labels of {form}: `{install.called()} data convert {source} --to icdar2015"
        f" --out {made}` makes a data path of them."
    )


def _holds_splits(folder: Path) -> bool:
    return is_split(folder) or any(is_split(child) for child in islice(folder.iterdir(), _WALKED))


def _label_files(folder: Path) -> list[Path]:
    some = islice(walk(folder), _WALKED)
    return [Path(entry.path) for entry in some if is_label(entry.name)]
