"""Folders of images: what is in them, and what of it is left out."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ocdnet import findings
from ocdnet.data.layout import HEIC, IMAGE_SUFFIXES, PDF, is_directory
from ocdnet.data.optional_formats import install_line
from ocdnet.data.reading import undecodable

_BESIDE = frozenset(
    [
        ".txt",
        ".json",
        ".jsonl",
        ".xml",
        ".csv",
        ".tsv",
        ".md",
        ".yaml",
        ".yml",
        ".log",
        ".ini",
        ".html",
        ".htm",
        ".py",
        ".db",
        ".lst",
    ]
)
"""Suffixes of what lies beside images without being one: labels, records, notes."""
_DIGITS = re.compile(r"(\d+)")


@dataclass
class Scan:
    """One folder.

    Attributes:
        images: names of image files, in natural order.
        no_files: names as of images, of what is no file: links to nothing, pipes, devices.
        folders: names of sub-folders, in natural order.
    """

    images: list[str] = field(default_factory=list)
    no_files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)


def _all(_: str) -> bool:
    return True


def _below(wanted: Callable[[str], bool], below: str, name: str) -> bool:
    return wanted(below + name)


def scan(folder: Path, documents: bool = False, wanted: Callable[[str], bool] = _all) -> Scan:
    """Look through a folder; files that are left out are noted, hidden ones are not.

    Args:
        folder: it.
        documents: PDF files are images.
        wanted: which images to take, and which other files to note, by their names.
    """
    found, read = Scan(), IMAGE_SUFFIXES | {PDF} if documents else IMAGE_SUFFIXES
    out = _left_out(read)
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 (a tenth of Path's time)
            if is_directory(entry):
                found.folders.append(name)
            elif is_beside(name) or not wanted(name):
                continue
            elif suffix in out:
                findings.note(*out[suffix], file=folder / name)
            elif suffix in read:
                found.images.append(name)
                if not _is_file(entry):
                    found.no_files.append(name)
            else:
                note_other(folder / name)
    found.images.sort(key=natural_key)
    found.folders.sort(key=natural_key)
    return found


def is_beside(name: str) -> bool:
    """Whether a file of this name is hidden, or lies beside images without being one."""
    return name.startswith(".") or os.path.splitext(name)[1].lower() in _BESIDE  # noqa: PTH122


def note_other(file: Path | str) -> None:
    """Note a file that is left out for its suffix."""
    findings.note("other-suffix", "Files of other suffixes were left out", file=file)


def note_folders(folder: Path, names: list[str], key: str = "") -> None:
    """Note sub-folders that are not searched."""
    for name in names:
        note_folder(folder / name, key)


def note_folder(folder: Path | str, key: str = "") -> None:
    """Note a sub-folder that is not searched; `key` lets it be."""
    findings.note("sub-folders", "Sub-folders were not searched", file=folder, key=key)


def list_images(
    folder: Path,
    recursive: bool = False,
    *,
    key: str = "",
    documents: bool = False,
    is_own: Callable[[Path], bool] = lambda _: False,
    wanted: Callable[[str], bool] = _all,
) -> list[Path]:
    """The image files of a folder in natural order; those of sub-folders behind its own.

    Args:
        folder: it.
        recursive: search sub-folders, too, but not links to folders.
        key: spec key that lets sub-folders be searched.
        documents: PDF files are images.
        is_own: whether a sub-folder holds results of ours, which are no input.
        wanted: which images to take, and which other files and folders to note, by their paths
            below the folder.
    """
    images, waiting = [], [folder]
    while waiting:
        here = waiting.pop()
        below = "" if here == folder else f"{here.relative_to(folder).as_posix()}/"
        found = scan(here, documents, partial(_below, wanted, below))
        images += [here / name for name in found.images]
        inner = [name for name in found.folders if not is_own(here / name)]
        if recursive:
            links = {name for name in inner if (here / name).is_symlink()}
            waiting += [here / name for name in reversed(inner) if name not in links]
            inner = [name for name in inner if name in links]
        noted = [name for name in inner if wanted(below + name)]
        note_folders(here, noted, "" if recursive else key)
    return images


def _left_out(read: frozenset[str]) -> dict[str, tuple[str, str]]:
    """For each suffix that would be read if this machine could: code and message."""
    message = "Images of a format that the installed OpenCV does not read were left out"
    out = dict.fromkeys(undecodable(), ("format-not-read", message))
    for suffixes, kind in ((HEIC, "heic"), ({PDF} & read, "pdf")):
        if line := install_line(kind):
            message = f"{kind.upper()} files were left out; to read them: {line}"
            out |= dict.fromkeys(suffixes, ("format-not-installed", message))
    return out


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


NaturalKey = tuple[list[str | int], str]


def natural_key(name: str) -> NaturalKey:
    """What puts `img_10` behind `img_9`; no two names are alike: `img_01` is before `img_1`."""
    # Every second part of the split is a run of digits.
    return [int(part) if i % 2 else part for i, part in enumerate(_DIGITS.split(name))], name
